"""Recording: what is in the files, whatever the source, the disk or the power does."""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream import recorder as recorder_module
from stream import tape as tape_module
from stream.clip import Clip
from stream.clock import NS_PER_S, MonotonicClock, VirtualClock
from stream.errors import ConfigError
from stream.recorder import Recorder, side_path
from stream.run import Arrival, Outcome
from stream.source import SourceState
from stream.tape import Tape
from tests.media import Media, media  # noqa: F401
from tests.play import Player
from tests.record import INFO, Tee, feed, nal_units, payloads, pictures, record, run_of, times_ms
from tests.rtsp import Camera, rtsp  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)

StartCamera = Callable[..., Camera]
ROOT = Path(__file__).parent.parent
RTSP_OTHER = (
    "( videotestsrc is-live=true ! video/x-raw,width=640,height=480,framerate=15/1 ! x264enc tune=zerolatency "
    "speed-preset=ultrafast key-int-max=30 ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.mkv"


def wait_taken(recorder: Recorder, timeout_s: float = 10.0) -> None:
    """Wait until the writer has taken what came: from then on it hangs in it, if it is to hang."""
    ends_s = time.monotonic() + timeout_s
    while recorder._box.stats().depth:
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def frames_of(source: object, recorder: Recorder | Tee, clock: VirtualClock | None = None, **wish: object) -> int:
    """Play a source to its end with a tap; return how many frames came."""
    with Player(str(source), clock or VirtualClock(), tap=recorder, **wish) as player:
        player.wait_state(SourceState.FINISHED, timeout_s=30)
    return len(player.frames)


# What is in the files


@pytest.mark.parametrize("name", ["base.mp4", "bframes.mp4", "mjpeg.avi", "yuyv.avi"])
def test_a_file_is_copied_bit_for_bit_with_a_line_for_each_packet(media: Media, out: Path, name: str) -> None:
    recorder = record(out)
    frames = frames_of(media(name), recorder)
    recorder.close()
    assert payloads(out) == payloads(media(name))
    assert pictures(out) == frames
    run = run_of(out)
    assert (run.info.clip, run.info.stream) == ("out.mkv", "cam")
    assert len(run.packets) == frames
    status = recorder.status()
    assert (status["clip"], status["packets"], status["lost"], status["error"]) == ("out.mkv", frames, 0, None)


def test_a_cameras_packets_are_copied_nal_unit_for_nal_unit(rtsp: StartCamera, out: Path) -> None:
    """A camera sends H.264 without lengths; Matroska wants lengths. What lies between is the same."""
    tee = Tee(record(out))
    with Player(rtsp().url, tap=tee) as player:
        player.wait_frames(40)
    tee.recorder.close()
    assert [nal_units(payload) for payload in payloads(out)] == [nal_units(payload) for payload in tee.payloads]
    run = run_of(out)
    assert {frame.captured_ns for frame in player.frames} <= {packet.arrived_ns for packet in run.packets}
    assert run.packets[0].is_keyframe
    assert pictures(out) == len(tee.payloads)


def test_b_frames_keep_their_order_and_times(media: Media, out: Path) -> None:
    recorder = record(out)
    frames_of(media("bframes.mp4"), recorder)
    recorder.close()
    times = sorted(times_ms(out))
    assert [at - times[0] for at in times] == [round(index * 1000 / 30) for index in range(30)]
    assert times_ms(out) != times


def test_video_without_times_gets_those_of_its_arrival(media: Media, out: Path) -> None:
    recorder = record(out)
    frames_of(media("raw.h264"), recorder)
    recorder.close()
    assert times_ms(out) == [round(index * 1000 / 30) for index in range(60)]


def test_a_jump_of_the_times_leaves_none_in_the_clip(media: Media, out: Path) -> None:
    recorder = record(out)
    assert frames_of(media("jump.ts"), recorder) == 60
    recorder.close()
    times = times_ms(out)
    assert min(np.diff(times)) > 0
    assert max(np.diff(times)) <= 100


def test_loops_go_on_in_time(media: Media, out: Path) -> None:
    recorder = record(out)
    with Player(str(media("short.mp4")), VirtualClock(), loop=True, tap=recorder) as player:
        player.wait_frames(45)
    recorder.close()
    times = times_ms(out)
    assert len(times) >= 45
    assert set(np.diff(times)) <= {33, 34}


def test_a_size_that_changes_within_the_stream_plays_on(media: Media, out: Path) -> None:
    """The new size comes with the packets: one file holds both."""
    recorder = record(out)
    frames_of(media("reschange.ts"), recorder)
    recorder.close()
    with Player(str(out), VirtualClock()) as player:
        player.wait_state(SourceState.FINISHED)
    assert [frame.image.shape[:2] for frame in player.frames] == [(360, 640)] * 30 + [(240, 320)] * 30


def test_a_source_without_packets_is_encoded(out: Path) -> None:
    recorder = record(out)
    with Player("test:128x64@30", MonotonicClock(), tap=recorder) as player:
        player.wait_frames(40)
    recorder.close()
    run = run_of(out)
    assert [packet.arrived_ns for packet in run.packets[:40]] == [frame.captured_ns for frame in player.frames[:40]]
    assert [index for index, packet in enumerate(run.packets) if packet.is_keyframe][:2] == [0, 30]
    assert pictures(out) == len(run.packets)


def test_records_of_the_run_are_in_the_side_file(out: Path, media: Media) -> None:
    recorder = record(out)
    feed(recorder, media("short.mp4"))
    arrival, outcome = Arrival(0, 0, 5, 9, 180, 320), Outcome(0, "", 50, 155, {"captured": 5})
    recorder.add(arrival)
    recorder.add(replace(INFO, device="cuda:0"))
    recorder.add(outcome)
    recorder.close()
    run = run_of(out)
    assert (run.arrivals, run.outcomes) == ([arrival], [outcome])
    assert (run.info.device, run.info.clip) == ("cuda:0", "out.mkv")


def test_the_clip_begins_with_a_keyframe(media: Media, out: Path) -> None:
    recorder = record(out)
    assert feed(recorder, media("gop10.mp4"), first=3, last=35) == 32
    recorder.close()
    assert payloads(out) == payloads(media("gop10.mp4"))[10:35]
    assert len(run_of(out).packets) == 25
    assert recorder.status()["lost"] == 0


def test_a_colon_in_a_name_is_no_protocol(media: Media, tmp_path: Path) -> None:
    recorder = record(tmp_path / "tcp:12:30.mkv")
    feed(recorder, media("short.mp4"))
    recorder.close()
    assert pictures(tmp_path / "tcp:12:30.mkv") == 15


def test_nothing_that_came_leaves_no_file(out: Path) -> None:
    recorder = record(out)
    assert side_path(out).exists()
    recorder.close()
    recorder.close()
    assert list(out.parent.iterdir()) == []


# The source comes back


def test_a_camera_that_returns_goes_on_in_the_same_file(rtsp: StartCamera, out: Path) -> None:
    camera, recorder = rtsp(), record(out)
    with Player(camera.url, tap=recorder) as player:
        player.wait_frames(20)
        camera.kill()
        player.wait_state(SourceState.RETRYING)
        camera.start()
        player.wait_frames(20, timeout_s=20)
    recorder.close()
    run, times = run_of(out), times_ms(out)
    assert len(times) == len(run.packets)
    assert min(np.diff(times)) > 0
    steps_ms = np.diff([packet.arrived_ns for packet in run.packets]) / 1e6
    away = int(np.argmax(steps_ms))
    assert times[away + 1] - times[away] == pytest.approx(steps_ms[away], abs=2)
    assert run.packets[away + 1].is_keyframe
    assert list(out.parent.glob("*.mkv")) == [out]


def test_a_camera_that_returns_with_another_size_goes_on_in_the_next_file(
    rtsp: StartCamera, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    camera, recorder = rtsp(), record(out)
    with Player(camera.url, tap=recorder) as player:
        player.wait_frames(20)
        camera.kill()
        player.wait_state(SourceState.RETRYING)
        camera._options = ("--launch", RTSP_OTHER)
        camera.start()
        player.wait(lambda player: player.frames[-1].source_size == (480, 640), timeout_s=20)
        player.wait_frames(20)
    recorder.close()
    second = out.with_name("out-2.mkv")
    assert recorder.status()["clip"] == "out-2.mkv"
    for clip in (out, second):
        run = run_of(clip)
        assert run.info.clip == clip.name
        assert len(run.packets) == len(payloads(clip)) == pictures(clip) > 0
        assert run.packets[0].is_keyframe
    assert len([record for record in caplog.records if "goes on in out-2.mkv" in record.message]) == 1


def test_a_further_file_takes_a_name_that_is_free(media: Media, out: Path) -> None:
    out.with_name("out-2.mkv").write_text("mine")
    recorder = record(out)
    for name in ("short.mp4", "slow.mp4"):
        feed(recorder, media(name), last=5)
        recorder.seam()
    feed(recorder, media("base.mp4"), last=5)
    recorder.close()
    assert out.with_name("out-2.mkv").read_text() == "mine"
    assert pictures(out.with_name("out-3.mkv")) == 5


# What goes wrong


@pytest.mark.parametrize(
    ("name", "taken", "message"),
    [
        ("out.mkv", "out.mkv", r"out\.mkv exists; choose another name or delete it"),
        ("out.mkv", "out.livelens.jsonl", r"out\.livelens\.jsonl exists; choose"),
        ("out.mp4", None, r"a Matroska file; its name ends with \.mkv"),
        ("no/out.mkv", None, "there is no folder .*no; make it first"),
        ("file/out.mkv", "file", "cannot be written: Not a directory"),
    ],
)
def test_a_name_that_cannot_be_recorded_to_is_refused_at_once(
    tmp_path: Path, name: str, taken: str | None, message: str
) -> None:
    if taken:
        (tmp_path / taken).write_text("mine")
    with pytest.raises(ConfigError, match=message) as caught:
        record(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ([taken] if taken else [])
    assert not taken or (tmp_path / taken).read_text() == "mine"


@pytest.mark.parametrize("name", ["out.mkv", "out.livelens.jsonl"])
def test_a_link_to_nothing_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("elsewhere/gone")
    with pytest.raises(ConfigError, match=f"{name} exists; choose another name or delete it"):
        record(tmp_path / "out.mkv")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).is_symlink()


def test_a_file_another_program_makes_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out.mkv").write_text("theirs")
    monkeypatch.setattr(Path, "exists", lambda path: False)  # as it was a moment before
    with pytest.raises(ConfigError, match=r"out\.mkv exists"):
        record(tmp_path / "out.mkv")
    assert (tmp_path / "out.mkv").read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_gone_is_not_told_of(media: Media, tmp_path: Path) -> None:
    """The status is shown to everybody who may see the page."""
    folder = tmp_path / "secret"
    folder.mkdir()
    recorder = record(folder / "out.mkv")
    feed(recorder, media("short.mp4"), last=5)
    wait_taken(recorder)
    shutil.rmtree(folder)
    recorder.seam()
    feed(recorder, media("base.mp4"), last=5)
    recorder.close()
    assert recorder.status()["error"] == "out-2.mkv: cannot be made: No such file or directory"


def test_the_clip_so_far_is_kept_when_the_next_cannot_be_made(
    media: Media, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record(out)
    feed(recorder, media("short.mp4"), last=5)
    wait_taken(recorder)
    monkeypatch.setattr(tape_module, "_make_both", no_space)
    feed(recorder, media("base.mp4"), last=5)
    recorder.close()
    assert recorder.status()["error"] == "out-2.mkv: cannot be made: No space left on device"
    assert pictures(out) == len(run_of(out).packets) == 5


def no_space(path: Path) -> object:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_what_waits_when_recording_stops_is_let_go_and_counted(
    media: Media, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(Clip, "write", lambda *_: (hangs.wait(30), no_space(out)))
    recorder = record(out)
    feed(recorder, media("short.mp4"), last=1)
    wait_taken(recorder)
    feed(recorder, media("short.mp4"), first=1)
    recorder.add(Arrival(0, 0, 5, 9, 180, 320))
    hangs.set()
    recorder._thread.join(10)
    status = recorder.status()
    assert "No space left on device" in str(status["error"])
    assert (status["lost"], status["lost_records"]) == (14, 1)
    assert (recorder._box.stats().depth, recorder._waiting_bytes) == (0, 0)
    recorder.close()


def test_a_disk_that_hangs_blocks_nobody_and_recording_goes_on_at_a_keyframe(
    media: Media, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hangs = threading.Event()
    real = Clip.write
    monkeypatch.setattr(Clip, "write", lambda *args: (hangs.wait(30), real(*args))[1])
    monkeypatch.setattr(recorder_module, "WARN_EVERY_NS", 0)
    monkeypatch.setattr(recorder_module, "BOUND", 40)
    recorder = record(out)
    started_s = time.monotonic()
    count = feed(recorder, media("gop10.mp4"), last=1)
    wait_taken(recorder)
    count += feed(recorder, media("gop10.mp4"), first=1)
    recorder.add(replace(INFO, device="late"))
    assert time.monotonic() - started_s < 5
    hangs.set()
    recorder.close(10)
    written, status, run = payloads(out), recorder.status(), run_of(out)
    whole = payloads(media("gop10.mp4"))
    kept = [whole.index(payload) for payload in written]
    assert status["packets"] == len(written) == len(run.packets) < count == status["packets"] + status["lost"]
    # 51 to 89 had room, and the header: on from the first keyframe there
    assert kept == [0, *range(60, 90)]
    assert pictures(out) == len(written)
    assert "the recording lost" in caplog.text


def test_memory_is_bounded_too(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    real = Clip.write
    monkeypatch.setattr(Clip, "write", lambda *args: (hangs.wait(30), real(*args))[1])
    monkeypatch.setattr(recorder_module, "BOUND_BYTES", 10_000)
    recorder = record(out)
    recorder.opened(None)
    for index in range(10):
        recorder.picture(np.zeros((32, 32, 3), np.uint8), index * NS_PER_S // 30)
    hangs.set()
    recorder.close(10)
    status = recorder.status()
    assert 6 <= status["lost"] <= 7  # three fit, and one more when the writer has already taken one
    assert status["packets"] + status["lost"] == 10


def test_a_header_pushed_out_of_the_mailbox_is_written_all_the_same(
    media: Media, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    real = Clip.write
    monkeypatch.setattr(Clip, "write", lambda *args: (hangs.wait(30), real(*args))[1])
    monkeypatch.setattr(recorder_module, "BOUND", 8)
    recorder = record(out)
    feed(recorder, media("short.mp4"), last=1)
    wait_taken(recorder)
    recorder.add(replace(INFO, device="cuda:0"))
    for seq in range(20):
        recorder.add(Arrival(seq, 0, 5, 9, 180, 320))
    hangs.set()
    recorder.close(10)
    assert run_of(out).info.device == "cuda:0"
    assert recorder.status()["lost_records"] >= 12


def test_a_full_disk_stops_the_recording_and_not_the_stream(media: Media, out: Path) -> None:
    """A limit on the size of files: the system refuses to write, as with a full disk."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "from tests.record import main; main(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, str(media("base.mp4")), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout.splitlines()[-1])
    assert "File too large" in status["error"]
    assert status["lives"]
    assert done.stderr.count("recording has stopped") == 1
    assert pictures(out) > 0
    assert abs(len(payloads(out)) - len(run_of(out).packets)) <= 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_a_file_system_without_space_stops_the_recording(media: Media, tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]).returncode:
        pytest.skip("may not mount here")
    try:
        recorder = record(tmp_path / "out.mkv")
        frames = frames_of(media("base.mp4"), recorder)
        recorder.close()
        assert frames == 60
        assert "No space left on device" in str(recorder.status()["error"])
        assert pictures(tmp_path / "out.mkv") > 0
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_side_file_that_cannot_be_written_stops_the_recording(
    media: Media, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Tape, "_open_side", lambda tape: Path("/dev/full").open("w"))  # noqa: SIM115
    recorder = record(out)
    feed(recorder, media("base.mp4"))
    recorder.close()
    assert "No space left on device" in str(recorder.status()["error"])
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_video_that_matroska_cannot_hold_stops_the_recording_and_leaves_no_file(
    media: Media, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record(out)
    assert frames_of(media("rgb.nut"), recorder) == 6
    recorder.close()
    assert "cannot hold video of this kind (rawvideo)" in str(recorder.status()["error"])
    assert list(out.parent.iterdir()) == []


def test_what_nobody_foresaw_stops_the_recording_only(media: Media, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clip, "write", lambda *_: 1 / 0)
    recorder = record(out)
    assert frames_of(media("short.mp4"), recorder) == 15
    recorder.close()
    assert "ZeroDivisionError" in str(recorder.status()["error"])


def test_after_the_end_nothing_is_taken_and_nothing_raised(media: Media, out: Path) -> None:
    recorder = record(out)
    feed(recorder, media("short.mp4"))
    recorder.close()
    before = out.read_bytes()
    feed(recorder, media("short.mp4"))
    recorder.add(Arrival(0, 0, 5, 9, 180, 320))
    recorder.picture(np.zeros((32, 32, 3), np.uint8), 0)
    recorder.seam()
    recorder.close()
    assert out.read_bytes() == before


def test_closing_is_quick_also_with_much_waiting(media: Media, out: Path) -> None:
    recorder = record(out)
    count = sum(feed(recorder, media("base.mp4")) for _ in range(5))
    started_s = time.monotonic()
    recorder.close()
    assert time.monotonic() - started_s < 2
    assert pictures(out) == count


# The program is killed


def killed_while_recording(address: str, clip: Path, frames: int, silence: Callable[[], None] | None = None) -> int:
    """Record in another process, kill it after so many frames; return how many frames it had a second before."""
    command = [sys.executable, "-m", "tests.record", address, str(clip)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        came_s = []
        for _ in process.stdout:
            came_s.append(time.monotonic())
            if len(came_s) == frames:
                break
        if silence is not None:
            silence()
        killed_s = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    return sum(at_s <= killed_s - 1 for at_s in came_s)


@pytest.mark.parametrize("source", ["test:320x180@30", "base.mp4", "mjpeg.avi"])
def test_after_kill_9_all_but_the_last_second_is_there(media: Media, out: Path, source: str) -> None:
    address = source if source.startswith("test:") else str(media(source))
    safe = killed_while_recording(address, out, 75)
    run = run_of(out)
    assert safe >= 30
    assert len(payloads(out)) >= safe
    assert len(run.packets) >= safe
    assert pictures(out) == len(payloads(out))
    probe = ["ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"]
    probed = subprocess.run([*probe, str(out)], capture_output=True, text=True, timeout=30)
    assert int(probed.stdout.strip().rstrip(",")) == len(payloads(out))


def test_after_kill_9_in_a_silence_all_but_one_packet_is_there(rtsp: StartCamera, out: Path) -> None:
    camera = rtsp()

    def silence() -> None:
        camera.freeze()
        time.sleep(1.2)

    safe = killed_while_recording(camera.url, out, 45, silence)
    camera.thaw()
    assert safe == 45
    assert len(payloads(out)) >= safe - 1
    assert len(run_of(out).packets) >= safe
