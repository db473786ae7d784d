"""Picture files of every kind, size and state of repair; bombs in a process whose memory is limited."""

import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stream.errors import StillError
from stream.still import MAX_PIXELS, Still, open_still, read_still

ORIENTATION = 0x0112  # EXIF


def gradient(height: int, width: int) -> np.ndarray:
    """Return red growing to the right and green growing downwards."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, width)
    picture[..., 1] = np.linspace(0, 255, height)[:, None]
    return picture


def saved(path: Path, picture: np.ndarray, **how: object) -> Path:
    Image.fromarray(picture).save(path, **how)  # type: ignore[arg-type]
    return path


def png_claiming(path: Path, width: int, height: int) -> Path:
    """Write a PNG whose header is right and promises that size; its pixels are missing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))))
    return path


def jpeg_claiming(path: Path, width: int, height: int, *, progressive: bool = False) -> Path:
    """Write a JPEG that promises that size; its pixels end early, which decoders forgive."""
    saved(path, gradient(64, 64), progressive=progressive)
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_every_format_is_read_in_its_size_and_colours(tmp_path: Path, suffix: str) -> None:
    picture = gradient(90, 160)
    path = saved(tmp_path / f"a.{suffix}", picture)
    assert (open_still(path).width, open_still(path).height) == (160, 90)
    assert np.abs(read_still(path).astype(int) - picture).max() <= 24  # JPEG and WebP lose a little


@pytest.mark.parametrize(
    ("within", "shape"),
    [
        (None, (800, 1600, 3)),
        ((1600, 900), (800, 1600, 3)),
        ((800, 600), (400, 800, 3)),
        ((799, 600), (400, 800, 3)),
        ((700, 700), (400, 800, 3)),  # 1/4 would be too small
        ((400, 400), (200, 400, 3)),
        ((50, 50), (100, 200, 3)),  # 1/8 is the most
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_needed(
    tmp_path: Path, within: tuple[int, int] | None, shape: tuple[int, ...]
) -> None:
    path = saved(tmp_path / "a.jpg", gradient(800, 1600))
    assert read_still(path, within).shape == shape


def test_a_reduced_picture_looks_like_the_whole_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", gradient(800, 1600), quality=95)
    small = read_still(path, (400, 200))
    wanted = cv2.resize(read_still(path), (400, 200), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - wanted).max() <= 3


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_upright(tmp_path: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    path = saved(tmp_path / "a.jpg", gradient(160, 320), exif=exif)
    assert read_still(path, (80, 80)).shape == ((40, 80, 3) if turn < 5 else (80, 40, 3))


def test_grey_palette_and_alpha_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "P", "RGBA", "I;16"):
        path = tmp_path / f"{mode.replace(';', '')}.png"
        Image.fromarray(gradient(20, 30)).convert("L" if mode == "I;16" else mode).convert(mode).save(path)
        assert read_still(path).shape == (20, 30, 3)


@pytest.mark.parametrize("width,height", [(50_000, 50_000), (7681, 4320), (1, MAX_PIXELS + 1)])
def test_a_png_above_the_limit_is_refused_with_its_size_and_what_to_do(tmp_path: Path, width: int, height: int) -> None:
    path = png_claiming(tmp_path / "bomb.png", width, height)
    with pytest.raises(
        StillError, match=f"bomb.png has {width}x{height} pixels, more than the limit of 33177600; save"
    ):
        read_still(path, (640, 360))


def test_a_large_jpeg_is_reduced_until_it_is_under_the_limit(tmp_path: Path) -> None:
    still = open_still(jpeg_claiming(tmp_path / "a.jpg", 20_000, 10_000))
    assert still.reduction(None) == 4
    assert still.reduction((640, 360)) == 8
    with pytest.raises(StillError, match="50000x50000"):
        open_still(jpeg_claiming(tmp_path / "b.jpg", 50_000, 50_000)).reduction((640, 360))


def test_a_progressive_jpeg_is_held_whole_by_its_decoder_and_so_not_reduced(tmp_path: Path) -> None:
    path = jpeg_claiming(tmp_path / "a.jpg", 20_000, 10_000, progressive=True)
    with pytest.raises(StillError, match="or as a baseline JPEG"):
        read_still(path, (640, 360))
    whole = saved(tmp_path / "b.jpg", gradient(80, 160), progressive=True)
    assert read_still(whole, (40, 40)).shape == (80, 160, 3)


BOMBS = """
    import resource, sys
    from pathlib import Path
    from stream.errors import StillError
    from stream.still import read_still

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 400 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name in sys.argv[1:]:
        try:
            print(read_still(Path(name), (640, 360)).shape)
        except StillError as error:
            print(error)
    # not getrusage: its peak begins with that of the process this one was forked from
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) < 700 * 2**10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory by /proc and RLIMIT_AS")
def test_bombs_do_not_take_the_memory(tmp_path: Path) -> None:
    files = [
        png_claiming(tmp_path / "a.png", 50_000, 50_000),
        jpeg_claiming(tmp_path / "b.jpg", 50_000, 50_000),
        jpeg_claiming(tmp_path / "c.jpg", 50_000, 50_000, progressive=True),
        jpeg_claiming(tmp_path / "d.jpg", 16_000, 12_000),
    ]
    child = [sys.executable, "-c", textwrap.dedent(BOMBS), *map(str, files)]
    done = subprocess.run(child, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent.parent)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0] for line in lines[:3]] == [
        f"{n} has 50000x50000 pixels" for n in ("a.png", "b.jpg", "c.jpg")
    ]
    assert lines[3:] == ["(1500, 2000, 3)", "True"]


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"RIFF1234AVI LIST", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"]
)
def test_what_is_no_picture_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(StillError, match=r"^a\.jpg (is no picture: expected JPEG|is damaged: )"):
        read_still(path)


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(StillError, match="there is no such file"):
            read_still(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_a_still_error_or_a_picture(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    path = saved(tmp_path / f"a.{suffix}", gradient(24, 32))
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, min(len(content) - 1, 400)), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        picture = read_still(path, (16, 16))
    except StillError as error:
        assert "\n" not in str(error)
    else:
        assert picture.dtype == np.uint8 and picture.shape[2] == 3


@given(st.integers(1, 60_000), st.integers(1, 60_000), st.integers(16, 4000), st.integers(16, 4000), st.booleans())
def test_a_reduction_never_passes_the_limit_nor_falls_below_what_is_needed(
    width: int, height: int, wide: int, high: int, is_reducible: bool
) -> None:
    still = Still(Path("a"), width, height, is_reducible)
    try:
        n = still.reduction((wide, high))
    except StillError:
        assert -(-width // 8) * -(-height // 8) > MAX_PIXELS or not is_reducible
        return
    assert -(-width // n) * -(-height // n) <= MAX_PIXELS
    shown = max(min(wide / width, high / height), min(high / width, wide / height))  # upright or turned
    is_forced = n > 1 and -(-2 * width // n) * -(-2 * height // n) > MAX_PIXELS
    assert n == 1 or is_forced or 1 / n >= shown * (1 - 1e-9)
