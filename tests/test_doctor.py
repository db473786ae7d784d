"""doctor.py: each check with what a machine may have, and one look at the real one."""

import json
import subprocess
from pathlib import Path

import pytest

from stream import doctor
from stream.doctor import Check, State


def state_of(check: Check) -> State:
    """A row that is not ok must say what to do."""
    assert check.state is State.OK or check.advice
    return check.state


def test_old_python_fails() -> None:
    assert state_of(doctor.check_python((3, 10, 9), "Linux")) is State.FAIL
    assert state_of(doctor.check_python((3, 11, 0), "Linux")) is State.OK


def test_camera_without_permission_names_the_group() -> None:
    check = doctor.check_cameras([], ["/dev/video0"])
    assert state_of(check) is State.WARN
    assert "/dev/video0" in check.found
    assert "usermod -aG video" in check.advice


def test_no_camera_is_a_warning_and_a_camera_is_listed() -> None:
    assert state_of(doctor.check_cameras([], [])) is State.WARN
    assert doctor.check_cameras(["camera:0 Front"], []) == Check("cameras", State.OK, "camera:0 Front")


def test_gpu_that_cannot_be_used_says_why() -> None:
    check = doctor.check_gpu(["NVIDIA H100"], "no kernel image")
    assert state_of(check) is State.WARN
    assert "no kernel image" in check.found


def test_gpu_absent_or_working_is_ok() -> None:
    assert "processor" in doctor.check_gpu([], "").found
    assert doctor.check_gpu(["NVIDIA H100"], "").state is State.OK


@pytest.mark.parametrize(
    ("cores", "capabilities", "state", "word"),
    [
        (2, ["FP32", "BF16"], State.OK, ", bf16"),
        (8, ["FP32"], State.OK, "no bf16"),
        (1, ["FP32", "BF16"], State.WARN, "1 core,"),
        (4, [], State.FAIL, "OpenVINO does not load"),
    ],
)
def test_processor_words(cores: int, capabilities: list[str], state: State, word: str) -> None:
    check = doctor.check_processor("Some CPU", cores, capabilities)
    assert state_of(check) is state
    assert word in check.found


@pytest.mark.parametrize(
    ("lacking", "state"),
    [
        (set(), State.OK),
        ({"libvpx"}, State.WARN),
        ({"libx264"}, State.WARN),
        ({"libx264", "libvpx"}, State.FAIL),
        ({"h264"}, State.FAIL),
    ],
)
def test_missing_codec_weighs_by_what_is_lost(lacking: set[str], state: State) -> None:
    assert state_of(doctor.check_codecs(lambda name, mode: name not in lacking)) is state


def test_port_in_use_passes_the_advice_on() -> None:
    check = doctor.check_port(8080, "port 8080 is in use; --port 8081 is free")
    assert state_of(check) is State.WARN
    assert "8081" in check.advice
    assert doctor.check_port(8080, "").state is State.OK


def test_ffmpeg_is_optional() -> None:
    assert doctor.check_ffmpeg(None).state is State.OK


def test_browser_row_explains_secure_contexts() -> None:
    check = doctor.check_browser(9000)
    assert "https or localhost" in check.found
    assert "ssh -L 9000:localhost:9000" in check.advice


def test_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    assert state_of(doctor.check_cache(tmp_path, is_writable=False)) is State.WARN
    assert doctor.check_cache(tmp_path, is_writable=True).state is State.OK


def test_writable_looks_at_the_nearest_folder_and_makes_none(tmp_path: Path) -> None:
    assert doctor._is_writable(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    blocked = tmp_path / "file"
    blocked.touch()
    assert not doctor._is_writable(blocked / "b")


def test_nvidia_smi_that_fails_or_hangs_counts_as_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor.subprocess, "run", hang)
    assert doctor._find_gpus() == []


def test_nvidia_smi_lines_become_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout="NVIDIA H100, 81559 MiB, 570.1\n\n")
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: answer)
    assert doctor._find_gpus() == ["NVIDIA H100, 81559 MiB, 570.1"]


def test_unknown_codec_is_not_there() -> None:
    assert doctor._can_code("libx264", "w")
    assert not doctor._can_code("no-such-codec", "r")


def test_this_machine_can_run_livelens() -> None:
    checks = {check.name: check for check in doctor.examine(port=8080)}
    assert set(checks) == {
        "python", "cameras", "gpu", "processor", "codecs", "port", "ffmpeg", "cache", "tuning", "browser",
    }  # fmt: skip
    failed = [check for check in checks.values() if state_of(check) is State.FAIL]
    assert failed == []


def test_tuning_says_what_was_chosen(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    assert "nothing measured yet" in doctor.check_tuning(path).found
    found = {"style 2^19: bf16, 2 threads; bf16, 1 thread": {"choice": ["bf16", 2], "ms": [20, 30]}}
    path.write_text(json.dumps({"schema_version": 1, "machines": {"a processor": found}}))
    assert doctor.check_tuning(path).found == "number format and threads by measurement: style bf16 on 2"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"machines": {"a": {"b": {}}}}', '{"machines": {"a": {"b": 1}}}'])
def test_damaged_tuning_is_no_failure(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(text)
    assert doctor.check_tuning(path).state is State.OK
    assert "measures anew" in doctor.check_tuning(path).found
