"""What `livelens doctor` looks at: each check takes what was found, and says what to do about it.

The checks are plain functions of what they are given. `examine` asks the machine; nothing it does changes anything.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from stream.errors import ConfigError

_SMI_TIMEOUT_S = 5.0  # nvidia-smi answers in about 1 s; a broken driver can hang it


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"  # something is missing; the rest works
    FAIL = "fail"  # nothing works before this is repaired


@dataclass(frozen=True, slots=True)
class Check:
    """One row: what was looked at, what was found, and what to do about it ("" when nothing)."""

    name: str
    state: State
    found: str
    advice: str = ""


def check_python(version: tuple[int, int, int], system: str) -> Check:
    """Check that Python is one the project is tested on."""
    found = f"{'.'.join(map(str, version))} on {system}"
    if version < (3, 11):
        return Check("python", State.FAIL, found, "install Python 3.11 or newer, then: make setup PYTHON=python3.12")
    return Check("python", State.OK, found)


def check_cameras(cameras: Sequence[str], locked: Sequence[str]) -> Check:
    """Check for cameras; `locked` are device files that exist and may not be read."""
    if locked:
        advice = "join the group that may: sudo usermod -aG video $USER, then log in again"
        return Check("cameras", State.WARN, f"no permission for {', '.join(locked)}", advice)
    if not cameras:
        advice = "livelens serve plays the sample clip; in a container, hand a camera in: --device /dev/video0"
        return Check("cameras", State.WARN, "none found", advice)
    return Check("cameras", State.OK, ", ".join(cameras))


def check_gpu(gpus: Sequence[str], problem: str) -> Check:
    """Check for NVIDIA GPUs; `problem` is why models cannot use them, "" when they can."""
    if not gpus:
        return Check("gpu", State.OK, "no NVIDIA GPU; models run on the processor")
    found = ", ".join(gpus)
    if problem:
        advice = "check that nvidia-smi shows a driver for the CUDA version that torch was built with"
        return Check("gpu", State.WARN, f"{found}, but not usable: {problem}", advice)
    return Check("gpu", State.OK, found)


def check_processor(name: str, cores: int, capabilities: Collection[str]) -> Check:
    """Check how fast models can run without a GPU; `capabilities` are OpenVINO's words, empty when it is not there."""
    found = f"{name}, {cores} core{'s' * (cores != 1)}"
    if not capabilities:
        return Check("processor", State.FAIL, f"{found}; OpenVINO does not load", "install it: make setup")
    found += ", bf16" if "BF16" in capabilities else ", no bf16"
    if cores < 2:
        return Check("processor", State.WARN, found, "one core is short for models and encoding; try --size 320x180")
    if "BF16" not in capabilities:
        return Check("processor", State.OK, found, "models run in float32, about half as fast; try --size 480x270")
    return Check("processor", State.OK, found)


def check_codecs(can: Callable[[str, str], bool]) -> Check:
    """Check what PyAV's FFmpeg can do; `can(codec, "r" or "w")` asks it."""
    encoders = [name for name in ("libx264", "libvpx") if can(name, "w")]
    lacking = [name for name in ("libx264", "libvpx") if name not in encoders]
    found = f"encode {', '.join(encoders) or 'nothing'}; decode {'h264' if can('h264', 'r') else 'no h264'}"
    advice = "use PyAV as it comes with FFmpeg built in: pip install --force-reinstall --only-binary av av"
    if not encoders or not can("h264", "r"):
        return Check("codecs", State.FAIL, found, advice)
    if lacking:
        return Check("codecs", State.WARN, f"{found}; without {lacking[0]} a few browsers get no picture", advice)
    return Check("codecs", State.OK, found)


def check_port(port: int, problem: str) -> Check:
    """Check that the server may listen; `problem` says why not, "" when it may."""
    if problem:
        return Check("port", State.WARN, f"{port} cannot be used", problem)
    return Check("port", State.OK, f"{port} is free")


def check_ffmpeg(path: str | None) -> Check:
    """Check for the ffmpeg command, which only tests and benchmarks use: PyAV brings FFmpeg's libraries."""
    return Check("ffmpeg", State.OK, path or "no command; only the tests use it")


def check_browser(port: int) -> Check:
    """Say where browsers give a page the camera: in a secure context (W3C Secure Contexts, Media Capture)."""
    advice = f"from another machine: ssh -L {port}:localhost:{port} THIS_MACHINE, or put an https proxy in front"
    return Check(
        "browser", State.OK, "watching works at any address; a page gets a camera on https or localhost only", advice
    )


def check_cache(path: Path, is_writable: bool) -> Check:
    """Check the folder where compiled networks are kept."""
    if not is_writable:
        advice = "set XDG_CACHE_HOME to a folder you may write to; without it each start compiles again"
        return Check("cache", State.WARN, f"{path} cannot be written", advice)
    return Check("cache", State.OK, str(path))


def check_tuning(path: Path) -> Check:
    """Say how networks run, as measured at their first start: models/tuning.py writes the file."""
    try:
        machines = json.loads(path.read_text("utf-8"))["machines"]
        kept = [(key.partition(" ")[0], one["choice"]) for found in machines.values() for key, one in found.items()]
        told = dict.fromkeys(f"{what} {precision} on {threads:d}" for what, (precision, threads) in kept)
    except FileNotFoundError:
        return Check("tuning", State.OK, "nothing measured yet; the first start of a network takes a second for it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Check("tuning", State.OK, f"{path} cannot be read ({error}); the next start measures anew")
    return Check("tuning", State.OK, "number format and threads by measurement: " + (", ".join(told) or "none yet"))


def examine(port: int) -> list[Check]:
    """Look at this machine. Takes a few seconds; blocks."""
    from stream.config import cache_dir
    from stream.device import available_cores

    gpus = _find_gpus()
    return [
        check_python(sys.version_info[:3], f"{platform.system()} {platform.machine()}"),
        check_cameras(_find_cameras(), _locked_cameras(Path("/dev"))),
        check_gpu(gpus, _cuda_problem() if gpus else ""),
        check_processor(*_find_processor(available_cores())),
        check_codecs(_can_code),
        check_port(port, _port_problem(port)),
        check_ffmpeg(shutil.which("ffmpeg")),
        check_cache(cache_dir(), _is_writable(cache_dir())),
        check_tuning(cache_dir() / "tuning.json"),
        check_browser(port),
    ]


def _find_cameras() -> list[str]:
    from stream.camera import list_cameras

    return [str(camera) for camera in list_cameras()]


def _locked_cameras(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.glob("video[0-9]*")) if not os.access(path, os.R_OK | os.W_OK)]


def _find_gpus() -> list[str]:
    """Return the GPUs that nvidia-smi lists; torch is not asked, its import takes seconds."""
    if (command := shutil.which("nvidia-smi")) is None:
        return []
    query = [command, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_SMI_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [" ".join(line.split()) for line in answer.stdout.splitlines() if line.strip()]


def _cuda_problem() -> str:
    from stream.clock import MonotonicClock
    from stream.device import open_device

    try:
        open_device("cuda:0", MonotonicClock()).close()
    except (ConfigError, ImportError, RuntimeError) as error:
        return str(error).splitlines()[0]
    return ""


def _find_processor(cores: int) -> tuple[str, int, list[str]]:
    try:
        from openvino import Core

        core = Core()
        name = str(core.get_property("CPU", "FULL_DEVICE_NAME"))
        return name, cores, list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    except (ImportError, RuntimeError):
        return platform.processor() or platform.machine(), cores, []


def _can_code(codec: str, mode: str) -> bool:
    try:
        import av

        av.Codec(codec, "r" if mode == "r" else "w")
    except (ImportError, ValueError):  # PyAV's UnknownCodecError is a ValueError
        return False
    return True


def _port_problem(port: int) -> str:
    from stream.port import check_port as try_port

    try:
        try_port("127.0.0.1", port)
    except ConfigError as error:
        return str(error)
    return ""


def _is_writable(path: Path) -> bool:
    """Whether `path` may be written or made; nothing is made to find out."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
