"""Cameras, as far as a machine without one can tell."""

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import stream.camera
from stream.address import SourceKind, parse_source
from stream.camera import CameraInfo, OpenCvReader, camera_reader, first_camera, list_cameras, list_v4l2
from stream.demux import DemuxReader
from stream.errors import SourceCode
from stream.source import SourceState
from tests.play import Player
from tests.test_source import scripted


def kernel_lists(folder: Path, nodes: dict[str, tuple[str, str]]) -> Path:
    """Write what the kernel shows of video devices: node -> (name, index)."""
    for node, (name, index) in nodes.items():
        (folder / node).mkdir()
        (folder / node / "name").write_text(name + "\n")
        (folder / node / "index").write_text(index + "\n")
    return folder


def test_cameras_are_listed_by_number_without_their_metadata_nodes(tmp_path: Path) -> None:
    devices = kernel_lists(tmp_path, {"video10": ("Late", "0"), "video0": ("Webcam", "0"), "video1": ("Webcam", "1")})
    assert list_v4l2(devices) == [CameraInfo("camera:0", "Webcam"), CameraInfo("camera:10", "Late")]


def test_no_camera_is_an_empty_list(tmp_path: Path) -> None:
    assert list_v4l2(tmp_path / "nothing") == []


def test_listing_is_quick() -> None:
    started_s = time.monotonic()
    list_cameras()
    assert time.monotonic() - started_s < stream.camera.PROBE_S + 1


def test_a_driver_that_hangs_does_not_hang_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.camera, "PROBE_S", 0.2)
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: time.sleep(1) or FakeCapture(number))
    assert stream.camera._probe_numbers() == []


def test_the_first_camera_is_an_address_that_parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.camera, "list_cameras", lambda: [CameraInfo("camera:2", "Webcam")])
    spec = first_camera()
    assert spec is not None
    assert (spec.kind, spec.target, str(spec)) == (SourceKind.CAMERA, "2", "camera:2")
    monkeypatch.setattr(stream.camera, "list_cameras", list)
    assert first_camera() is None


def test_ffmpegs_driver_comes_first_and_opencv_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_source("camera:0")
    monkeypatch.setattr("av.formats_available", {"video4linux2,v4l2"})
    monkeypatch.setattr(stream.camera, "_platform", lambda: "linux")
    assert isinstance(camera_reader(spec), DemuxReader)
    monkeypatch.setattr(stream.camera, "_platform", lambda: "win32")
    assert isinstance(camera_reader(spec), OpenCvReader)


def test_a_camera_that_is_not_there_says_so_and_is_tried_again() -> None:
    with Player("/dev/video99") as player:
        player.wait(lambda player: player.source.status().code)
        status = player.source.status()
    assert (status.state, status.code) == (SourceState.ERROR, SourceCode.NOT_FOUND)
    assert "plugged in" in status.message


class FakeCapture:
    """OpenCV's capture, of a camera that gives five pictures and is then unplugged."""

    def __init__(self, device: Any) -> None:
        self.left = 5

    def isOpened(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return 0.0  # many drivers do not know their rate

    def read(self, image: object = None) -> tuple[bool, Any]:
        self.left -= 1
        return (True, np.full((48, 64, 3), (255, 0, 0), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        pass


def test_opencv_reads_a_camera_in_rgb_until_it_is_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    reader = OpenCvReader(parse_source("camera:0"))
    with scripted(reader.read, kind=SourceKind.CAMERA) as player:
        player.wait_state(SourceState.RETRYING)
    assert player.statuses[1].code is SourceCode.REMOVED
    assert len(player.frames) >= 5
    assert tuple(player.frames[0].image[0, 0]) == (0, 0, 255)  # OpenCV's blue first became rgb
