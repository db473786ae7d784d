"""Real video files for tests, made by ffmpeg when a test first asks for them.

from tests.media import media  # noqa: F401  (a session fixture)

def test_...(media): path = media("base.mp4")
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
COLOUR = "-f lavfi -i color=c=0x20A060:s=640x360:r=30:d=0.4"

# File name -> ffmpeg's arguments before the file name. {other.ts} is the path of another file, made first.
RECIPES = {
    "base.mp4": f"-f lavfi -i testsrc2=s=640x360:r=30:d=2 {H264} -bf 0",
    "short.mp4": f"-f lavfi -i testsrc2=s=320x180:r=30:d=0.5 {H264} -bf 0",
    "bframes.mp4": "-f lavfi -i testsrc2=s=320x180:r=30:d=1 -c:v libx264 -pix_fmt yuv420p -bf 3 -b_strategy 0",
    "a.ts": f"-f lavfi -i testsrc2=s=640x360:r=30:d=1 {H264} -g 30 -bf 0",
    "b.ts": f"-f lavfi -i testsrc2=s=320x240:r=30:d=1 {H264} -g 30 -bf 0 -output_ts_offset 1",
    "late.ts": "-i {a.ts} -c copy -output_ts_offset 5000",
    "wrap.ts": f"-f lavfi -i testsrc2=s=320x180:r=30:d=3 {H264} -bf 0 -output_ts_offset 95442 -f mpegts",
    "noise.mp4": "-i {base.mp4} -c copy -bsf:v noise=amount=500",
    "noise.ts": "-i {a.ts} -c copy -bsf:v noise=amount=200 -f mpegts",
    "raw.h264": "-i {base.mp4} -c copy -f h264",
    "odd.mp4": "-f lavfi -i testsrc=s=641x359:r=30:d=0.5 -c:v libx264 -preset ultrafast -pix_fmt yuv444p",
    "odd.webm": "-f lavfi -i testsrc=s=641x359:r=30:d=0.5 -c:v libvpx-vp9 -cpu-used 8 -deadline realtime "
    "-pix_fmt yuv420p",
    "not16.mp4": "-f lavfi -i testsrc2=s=674x389:r=30:d=0.4 -vf scale=674:389 -c:v libx264 -pix_fmt yuv444p",
    "color_full.mp4": f"{COLOUR} -vf scale=out_color_matrix=bt709:out_range=pc -c:v libx264 -crf 1 -pix_fmt yuv420p "
    "-color_range pc -colorspace bt709",
    "color_tv.mp4": f"{COLOUR} -vf scale=out_color_matrix=bt709:out_range=tv -c:v libx264 -crf 1 -pix_fmt yuv420p "
    "-color_range tv -colorspace bt709",
    "color_tv601.mp4": f"{COLOUR} -vf scale=out_color_matrix=bt601:out_range=tv -c:v libx264 -crf 1 "
    "-pix_fmt yuv420p -color_range tv -colorspace smpte170m",
    "color_untagged_hd.mp4": "-f lavfi -i color=c=0x20A060:s=1280x720:r=30:d=0.4 "
    "-vf scale=out_color_matrix=bt709:out_range=tv -c:v libx264 -crf 1 -preset ultrafast -pix_fmt yuv420p",
    "huge.avi": "-f lavfi -i color=s=8000x5000:r=10 -frames:v 1 -c:v mjpeg",
    "huge.mp4": f"-f lavfi -i color=s=8000x5000:r=10 -frames:v 1 {H264}",
    "audioonly.mp4": "-f lavfi -i sine=d=1 -c:a aac",
    "upright.mp4": "-f lavfi -i color=c=red:s=320x180:r=30:d=0.3 -f lavfi -i color=c=blue:s=160x90:r=30:d=0.3 "
    f"-filter_complex overlay=0:0 {H264} -bf 0",  # a blue quarter at the top left
    "turned90.mp4": "-i {upright.mp4} -c copy -metadata:s:v rotate=90",
    "turned270.mp4": "-i {upright.mp4} -c copy -metadata:s:v rotate=270",
    "turned180.mp4": "-i {upright.mp4} -c copy -metadata:s:v rotate=180",
    "shown90.mp4": f"-i {{turned90.mp4}} {H264} -bf 0",  # ffmpeg turns the pixels as the file says
    "shown180.mp4": f"-i {{turned180.mp4}} {H264} -bf 0",
    "shown270.mp4": f"-i {{turned270.mp4}} {H264} -bf 0",
    "anamorphic.mp4": f"-f lavfi -i testsrc2=s=360x288:r=25:d=0.4 -vf setsar=2 {H264} -bf 0",
    "slow.mp4": f"-f lavfi -i testsrc2=s=320x180:r=5:d=2 {H264} -bf 0",
    "mjpeg.avi": "-f lavfi -i testsrc2=s=320x180:r=30:d=0.5 -c:v mjpeg -q:v 4",
    "yuyv.avi": "-f lavfi -i testsrc2=s=320x180:r=30:d=0.5 -c:v rawvideo -pix_fmt yuyv422",
    "nv12.nut": "-f lavfi -i testsrc2=s=320x180:r=30:d=0.5 -c:v rawvideo -pix_fmt nv12",
    "rgb.nut": "-f lavfi -i testsrc2=s=320x180:r=30:d=0.2 -c:v rawvideo -pix_fmt rgb24",
    "gop10.mp4": f"-f lavfi -i testsrc2=s=320x180:r=30:d=3 {H264} -g 10 -bf 0",
    "cover.mp3": "-f lavfi -i sine=d=1 -f lavfi -i color=c=red:s=100x100:d=0.04:r=25 -map 0 -map 1 -c:v mjpeg "
    "-disposition:v attached_pic -id3v2_version 3",
    "live.m3u8": f"-f lavfi -i testsrc2=s=320x180:r=30:d=3 {H264} -g 30 -bf 0 -f hls -hls_time 1 -hls_list_size 0",
}
JOINED = {"reschange.ts": ("a.ts", "b.ts"), "jump.ts": ("a.ts", "late.ts")}

Media = Callable[[str], Path]


def ffmpeg() -> str:
    """Return ffmpeg's path. A test without it fails: it must not pass unseen."""
    found = shutil.which("ffmpeg")
    if found is None:
        pytest.fail("these tests make real video with ffmpeg: install it (Debian: apt install ffmpeg)")
    return found


def make(name: str, folder: Path) -> Path:
    """Return the path of a test video in `folder`, making it when it is not there."""
    path = folder / name
    if path.exists():
        return path
    if name in JOINED:
        path.write_bytes(b"".join(make(part, folder).read_bytes() for part in JOINED[name]))
        return path
    words = [str(make(word[1:-1], folder)) if word.startswith("{") else word for word in RECIPES[name].split()]
    command = [ffmpeg(), "-hide_banner", "-loglevel", "error", "-y", *words, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return path


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Return a function from a file's name to its path."""
    folder = tmp_path_factory.mktemp("media")
    return lambda name: make(name, folder)


def damage(clip: Path, first: float = 0.4, last: float = 0.6) -> None:
    """Overwrite a part of a file, given in shares of its size, with what is no video."""
    data = bytearray(clip.read_bytes())
    start, end = int(len(data) * first), int(len(data) * last)
    data[start:end] = bytes(end - start)
    clip.write_bytes(data)
