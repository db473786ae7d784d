"""The product, whole: `livelens serve` in its own process, watched in a real Chromium."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from stream.address import sample_clip
from tests.rtsp import Camera
from tests.server import Served, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIRST_PICTURE_MS = 60_000  # the first start compiles the networks, on a machine that others use too

# The picture as it is on screen, as a list of rgb bytes at a small size.
SNAPSHOT = """([width, height]) => {
    const video = document.getElementById('video');
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, width, height);
    const rgba = context.getImageData(0, 0, width, height).data;
    return Array.from(rgba).filter((_, index) => index % 4 !== 3);
}"""
SMALL = (160, 90)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


def watch(page: Page, served: Served, frames: int = 10) -> None:
    """Open the page and wait until it has decoded some frames."""
    page.goto(served.address)
    page.wait_for_function(f"() => livelens.frames >= {frames}", timeout=FIRST_PICTURE_MS)


def snapshot(page: Page) -> np.ndarray:
    """Return the picture on screen, [90,160,3] uint8."""
    return np.array(page.evaluate(SNAPSHOT, list(SMALL)), np.uint8).reshape(SMALL[1], SMALL[0], 3)


def share_seen(page: Page, served: Served, seconds: float = 6.0) -> float:
    """Return frames decoded in the browser per frame sent by the server, over some seconds."""
    seen, sent = page.evaluate("livelens.frames"), served.stream()["frames"]["shown"]
    time.sleep(seconds)
    seen_after, sent_after = page.evaluate("livelens.frames"), served.stream()["frames"]["shown"]
    assert sent_after - sent >= 5 * seconds / 2, served.stream()
    return (seen_after - seen) / (sent_after - sent)


def clip_frames() -> np.ndarray:
    """Return every third frame of the sample clip, [N,90,160,3] int16."""
    with av.open(sample_clip().target) as container:
        frames = [f.to_ndarray(width=SMALL[0], height=SMALL[1], format="rgb24") for f in container.decode(video=0)]
    return np.array(frames[::3], np.int16)


def test_the_sample_clip_plays_moving_styled_and_complete(page: Page, tmp_path: Path) -> None:
    with serve(sample_clip().address, log_path=tmp_path / "log") as served:
        watch(page, served)
        first = snapshot(page)
        assert share_seen(page, served) >= 0.9
        second = snapshot(page)
        assert np.abs(first.astype(int) - second).mean() > 1  # it moves
        originals = clip_frames()
        differences = [np.abs(originals - picture).mean((1, 2, 3)).min() for picture in (first, second)]
        assert min(differences) > 8  # painted: like no frame of the clip
        stages = {stage["name"] for stage in served.stream()["stages"]}
        assert stages == {"mask", "boxes", "style"}


def test_the_person_is_left_as_it_is_and_the_background_is_painted(page: Page, tmp_path: Path) -> None:
    """With a flat-out budget and few frames a second, compare each region with the nearest frame of the clip."""
    with serve(sample_clip().address, "--fps", "10", log_path=tmp_path / "log") as served:
        watch(page, served)
        originals = clip_frames()
        for _ in range(60):
            picture = snapshot(page).astype(int)
            nearest = originals[np.abs(originals - picture).mean((1, 2, 3)).argmin()]
            change = np.abs(nearest - picture).mean(2)
            inside, outside = change < 12, change > 20
            if inside.mean() > 0.12 and outside.mean() > 0.3:
                return
            time.sleep(0.3)
        pytest.fail("no picture had a person left alone before a painted background")


@pytest.fixture
def camera() -> Iterator[Camera]:
    """A camera of 640x360 at 25 fps, with a moving ball."""
    launch = (
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=25/1 "
        "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 "
        "! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )
    made = Camera("--launch", launch).start()
    yield made
    made.kill()


def test_a_live_rtsp_stream_plays_complete_and_comes_back_after_its_camera_died(
    page: Page, tmp_path: Path, camera: Camera
) -> None:
    with serve(camera.url, "--generate", "style", log_path=tmp_path / "log") as served:
        watch(page, served)
        first = snapshot(page).astype(int)
        assert share_seen(page, served) >= 0.9
        assert np.abs(first - snapshot(page)).mean() > 0.5  # it moves
        assert (first.max(2) - first.min(2)).mean() > 5  # painted: the camera's own picture is black and white
        camera.kill()
        page.wait_for_function("() => !document.getElementById('overlay').hidden", timeout=20_000)
        served.wait_until(lambda: served.stream()["source"]["state"] == "retrying", 20, "retrying")
        camera.start()
        before = page.evaluate("livelens.frames")
        served.wait_until(
            lambda: page.evaluate("livelens.frames") > before + 20,
            what=f"pictures after the camera's return; page {page.evaluate('JSON.stringify(livelens)')}",
        )
        assert served.stream()["source"]["reconnects"] >= 1


@pytest.mark.parametrize("color", [(32, 160, 96), (200, 40, 40), (20, 30, 220)])
def test_colours_arrive_as_they_were(page: Page, tmp_path: Path, color: tuple[int, int, int]) -> None:
    clip = tmp_path / "flat.mp4"
    name = "0x" + "".join(f"{part:02x}" for part in color)
    source = f"color=c={name}:s=640x360:r=30:d=1"
    matrix = "scale=out_color_matrix=bt709:out_range=tv"
    tags = ["-color_range", "tv", "-colorspace", "bt709", "-crf", "1", "-pix_fmt", "yuv420p"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-vf", matrix, "-c:v", "libx264", *tags, clip],
        check=True,
    )
    with serve(str(clip), "--no-models", log_path=tmp_path / "log") as served:
        watch(page, served)
        assert np.abs(snapshot(page).astype(int) - color).max() <= 10


def test_ctrl_c_ends_everything_with_viewers_connected(page: Page, tmp_path: Path) -> None:
    with serve("test:", "--no-models", log_path=tmp_path / "log") as served:
        watch(page, served)
        assert served.stream()["viewers"] == 1
        assert served.interrupt(signal.SIGINT) < 5
        assert served.process.returncode in (0, 130)
        assert "Traceback" not in served.log()
        page.wait_for_function("() => !document.getElementById('overlay').hidden", timeout=15_000)  # and says so


def test_two_viewers_and_one_reload_do_not_disturb_each_other(page: Page, chromium: Browser, tmp_path: Path) -> None:
    with serve("test:", "--no-models", log_path=tmp_path / "log") as served:
        watch(page, served)
        other = chromium.new_context().new_page()
        watch(other, served)
        served.wait_until(lambda: served.stream()["viewers"] == 2, what="two viewers")
        before = page.evaluate("livelens.frames")
        for _ in range(3):
            other.reload()
            other.wait_for_function("() => livelens.frames > 5", timeout=FIRST_PICTURE_MS)
        assert page.evaluate("livelens.frames") > before + 30
        served.wait_until(lambda: served.stream()["viewers"] == 2, what="two viewers after reloads")
        other.context.close()
