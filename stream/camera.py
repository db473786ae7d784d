"""Cameras on this machine: which there are, and how to read them.

FFmpeg's drivers come first (V4L2, AVFoundation, DirectShow); OpenCV is the second way, where this
build of FFmpeg lacks the driver or the driver cannot name cameras by number.
"""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream.address import SourceKind, SourceSpec, parse_source
from stream.errors import SourceCode, SourceError
from stream.frame import Picture

if TYPE_CHECKING:
    from stream.intake import Attempt, Reader
    from stream.pool import BufferPool

VIDEO_DEVICES = Path("/sys/class/video4linux")
PROBE_CAMERAS = 4  # numbers that are tried where the system has no list we can read
PROBE_S = 3.0  # for all of them together
FIRST_PICTURES = 30  # empty reads in a row that a camera may need to wake up


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that was found. `address` opens it, `name` is what its maker calls it."""

    address: str
    name: str

    def __str__(self) -> str:
        return f"{self.address}  {self.name}"


def list_cameras() -> list[CameraInfo]:
    """Return the cameras of this machine, within about three seconds; opens none on Linux."""
    if _platform() == "linux":
        return list_v4l2(VIDEO_DEVICES)
    return _probe_numbers()


def first_camera() -> SourceSpec | None:
    """Return the first camera's address; None when there is none."""
    cameras = list_cameras()
    return parse_source(cameras[0].address) if cameras else None


def list_v4l2(devices: Path) -> list[CameraInfo]:
    """Return what the kernel lists under `devices`: the first node of each camera, not its metadata nodes."""
    numbers = sorted(int(node.name[5:]) for node in devices.glob("video*") if node.name[5:].isdigit())
    return [
        CameraInfo(f"camera:{number}", _text(devices / f"video{number}" / "name") or f"video{number}")
        for number in numbers
        if _text(devices / f"video{number}" / "index") in ("", "0")  # a UVC camera's other nodes carry metadata
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _probe_numbers() -> list[CameraInfo]:
    """Try the first few numbers, on a thread of their own: a driver may hang."""
    found: list[CameraInfo] = []

    def probe() -> None:
        import cv2

        for number in range(PROBE_CAMERAS):
            camera = cv2.VideoCapture(number)
            if camera.isOpened():
                found.append(CameraInfo(f"camera:{number}", f"camera {number}"))
            camera.release()

    thread = threading.Thread(target=probe, name="camera-probe", daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return list(found)


def camera_reader(spec: SourceSpec) -> "Reader":
    """Return the reader for a camera."""
    import av

    from stream.demux import DemuxReader, Input

    for name, make_target in _DRIVERS.get(_platform(), ()):
        if name in av.formats_available:
            options = [("fpsprobesize", "0")]  # it would hold the first 20 pictures
            if name == "avfoundation":
                options.append(("framerate", "30"))  # its default, 29.97, few cameras have
            target, driver = make_target(spec.target), name.split(",")[-1]
            return DemuxReader(Input(target, spec.display, True, SourceKind.CAMERA, driver, tuple(options)))
    return OpenCvReader(spec)


def _device(target: str) -> str:
    return target if target.startswith("/") else f"/dev/video{target}"


def _platform() -> str:
    """Return the system's name. A function, or mypy takes the machine it runs on for all machines."""
    return sys.platform


# FFmpeg's name of the driver, and how it names camera N. DirectShow knows cameras by name only: OpenCV there.
_DRIVERS: dict[str, tuple[tuple[str, Callable[[str], str]], ...]] = {
    "linux": (("video4linux2,v4l2", _device),),
    "darwin": (("avfoundation", lambda target: f"{target}:none"),),
}


class OpenCvReader:
    """Reader: a camera by its number, through OpenCV."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def read(self, attempt: "Attempt") -> None:
        """Read until the camera is lost or the stop; see `stream.intake.Reader`."""
        import cv2

        from stream.intake import Media

        target = self._spec.target
        camera = cv2.VideoCapture(int(target) if target.isdigit() else target)
        try:
            if not camera.isOpened():
                message = f"{self._spec.display}: no such camera, or another program uses it; see: livelens doctor"
                raise SourceError(message, SourceCode.NOT_FOUND)
            attempt.opened(Media(codec="raw", fps=camera.get(cv2.CAP_PROP_FPS) or None))
            self._pump(camera, attempt)
        finally:
            camera.release()

    def _pump(self, camera: Any, attempt: "Attempt") -> None:
        empty, picture = 0, None
        while not attempt.stop.is_set():
            is_good, picture = camera.read(None if picture is None else attempt.pool.take(picture.shape))
            captured_ns = attempt.now_ns()
            if is_good:
                empty = 0
                attempt.packet()
                attempt.picture(
                    None, captured_ns, (picture.shape[1], picture.shape[0]), _rgb_scaler(picture, attempt.pool)
                )
                continue
            empty += 1
            attempt.decode_failed("the camera gave no picture")
            if empty >= FIRST_PICTURES:
                raise SourceError(f"{self._spec.display}: the camera gives no picture; unplugged?", SourceCode.REMOVED)


def _rgb_scaler(picture: Any, pool: "BufferPool") -> Callable[[tuple[int, int]], Picture]:
    def scaled(size: tuple[int, int]) -> Picture:
        import cv2

        fitted = picture
        if (picture.shape[1], picture.shape[0]) != size:
            fitted = cv2.resize(picture, size, dst=pool.take((*size[::-1], 3)), interpolation=cv2.INTER_AREA)
        converted: Picture = cv2.cvtColor(fitted, cv2.COLOR_BGR2RGB, dst=pool.take(fitted.shape))  # type: ignore[assignment]
        return converted

    return scaled
