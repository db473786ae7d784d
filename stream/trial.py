"""A recording put to the test: what to play it with, and the replay together with what the machine was like meanwhile.

For the command line and the pytest plugin alike. Messages name the options of the command line.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.clock import MonotonicClock, ns_to_ms
from stream.config import StreamConfig, from_options
from stream.errors import ConfigError
from stream.frame import Frame
from stream.machine import Ticks, other_load, peak_memory_mb, read_ticks, speed_probe
from stream.preflight import check, refuse_foreign
from stream.recording import Recording, open_recording
from stream.replay import Pace, Tell, Wish, check_wish, recorded_models, recorded_size, replay
from stream.run import Run
from stream.source import SourceState, SourceStatus, open_source, parse_source
from stream.summary import summarize

_FLAGS = {"recognize": "--recognize", "generate": "--generate", "models": "--no-models", "size": "--size"}
_FLAGS |= {"fps": "--fps", "device": "--device"}
_SMALL = (64, 64)  # px; for pictures that are only counted
_COUNTED = (SourceState.FINISHED, SourceState.ERROR)
_LOOK_S = 0.5  # how often an end that was not told would be found


def stream_config(source: str, said: Mapping[str, Any], device: str | None, **more: object) -> StreamConfig:
    """Return the checked configuration of one stream. What is None in `said` was not said. Raises ConfigError."""
    stream = {key: value for key, value in said.items() if value is not None}
    if stream.get("models") is False and (clash := stream.keys() & {"recognize", "generate"}):
        raise ConfigError(f"--no-models and {_FLAGS[max(clash)]} exclude each other; leave one out")
    server = {"port": 0} | ({"device": device} if device else {})
    config = from_options(server, {"source": source, **stream, **more})
    check(config)
    return config.streams[0]


def wish_for(clip: Path, said: Mapping[str, Any], pace: str | None, loops: int, device: str | None) -> Wish:
    """Return what to replay: with what was said, else what it was recorded with, else the defaults.

    said    settings of a stream by their name; None is not said
    pace    None is as it was recorded, else by its timestamps
    device  None is "auto"

    Reads the recording to its end. Raises ConfigError.
    """
    said = {key: value for key, value in said.items() if value is not None}
    if pace is not None and pace not in list(Pace):
        raise ConfigError(f"--pace {pace}: expected a pace of {', '.join(Pace)}")
    if loops < 1:
        raise ConfigError(f"--loop {loops}: expected a loop of 1 or more")
    if pace == Pace.VIRTUAL:
        _refuse_with_virtual([*said, *(["device"] if device else [])])
    recording = open_recording(clip, require_side=pace in (Pace.RECORDED, Pace.VIRTUAL))
    has_times = recording.run is not None and bool(recording.run.packets)
    chosen = Pace(pace or (Pace.RECORDED if has_times else Pace.REALTIME))
    settings = {**_recorded(recording, said, chosen), **said}
    config = stream_config(str(recording.clip), settings, device, allow_late=True, loop=False)
    check_wish(wish := Wish(recording, chosen, config, loops, device or "auto"))
    return wish


def check_alike(before: Mapping[str, Any], wish: Wish, name: str) -> None:
    """Raise ConfigError when a baseline is of another clip or pace: nothing could be learned from it."""
    for what, then, now in (
        ("clip", before["clip"], wish.recording.clip.name),
        ("pace", before["pace"], wish.pace.value),
    ):
        if then != now:
            raise ConfigError(f"baseline {name}: is of {what} {then}, and this is {now}; make one of this with --json")


def _refuse_with_virtual(said: list[str]) -> None:
    """Raise ConfigError for a setting that a virtual replay cannot follow."""
    if found := next((flag for name, flag in _FLAGS.items() if name in said), None):
        raise ConfigError(
            f"--pace virtual replays what was recorded, so {found} cannot be followed; take --pace recorded"
        )


def _recorded(recording: Recording, said: Mapping[str, Any], pace: Pace) -> dict[str, Any]:
    """Return the settings that a recording was made with."""
    run = recording.run
    if run is None:
        return {}
    found: dict[str, Any] = {"budget_ms": ns_to_ms(run.info.budget_ns)}
    if pace is Pace.VIRTUAL:
        return found | {"models": False}  # nothing is loaded
    found["size"] = recorded_size(run)
    if run.arrivals and not said.keys() & {"recognize", "generate", "models"}:
        recognize, generate = recorded_models(run)
        refuse_foreign([*recognize, *([generate] if generate else [])], str(recording.clip))
        found |= {"recognize": recognize or None, "generate": generate}
        found["models"] = None if recognize or generate else False
    return found


def run_trial(wish: Wish, tell: Tell, *, has_own_process: bool) -> tuple[Run, dict[str, Any]]:
    """Replay, and return the account with its summary. Blocks.

    has_own_process  nothing else was done in this process, so that its highest memory is that of the replay
    """
    is_real = wish.pace is not Pace.VIRTUAL
    before_ms = speed_probe() if is_real else 0.0
    started: list[Ticks | None] = []  # as the first frames are told of: to load models is not what is measured

    def told(done: int, total: int) -> None:
        if not started:
            started.append(read_ticks())
        tell(done, total)

    run = replay(wish, told)
    load = other_load(started[0], read_ticks()) if is_real and started else None
    memory_mb = peak_memory_mb() if has_own_process else None
    expected = expected_frames(wish, len({arrival.seq for arrival in run.arrivals}))
    if not is_real:
        return run, summarize(run, memory_mb, expected_frames=expected)
    return run, summarize(run, memory_mb, min(before_ms, speed_probe()), load, expected)


def expected_frames(wish: Wish, came: int) -> int:
    """Return how many frames a replay should have brought, of which `came` did.

    Usually one for each packet. Where that is not so the clip itself is asked: decoders leave out pictures of which
    the reference is not in the clip, and a limit of fps does so on purpose. Blocks while it is decoded.
    """
    if wish.pace is Pace.VIRTUAL:
        assert wish.recording.run is not None
        return len(wish.recording.run.arrivals) * wish.loops
    packets = wish.recording.packets * wish.loops
    if came == packets:
        return packets
    expected = _countable(wish.recording, wish.config.fps) * wish.loops
    may_lack = wish.loops if wish.config.fps or wish.recording.is_cut_short else 0  # at seams; a last packet in half
    return came if 0 <= expected - came <= may_lack else expected


def _countable(recording: Recording, fps: float | None) -> int:
    """Return how many pictures a clip has, at most `fps` a second, counting those that damage took. Decodes it all."""
    before: list[int] = []  # packets that could not be decoded before the first picture: nothing was there to see
    has_ended = threading.Event()

    def count(frame: Frame) -> None:
        if not before:
            before.append(source.status().counters.decode_errors)

    def look(status: SourceStatus) -> None:
        if status.state in _COUNTED:
            has_ended.set()

    spec, clock = parse_source(str(recording.clip)), MonotonicClock()
    options: dict[str, Any] = {"max_size": _SMALL, "fps": fps, "loop": 1, "is_paced": False}
    source = open_source(spec, stream=recording.clip.name, clock=clock, emit=count, on_state=look, **options)
    source.start()
    while not has_ended.wait(_LOOK_S) and source.status().state not in _COUNTED:
        pass  # a source gives up a reader that hangs
    status = source.status()
    source.stop()
    errors = status.counters.decode_errors - sum(before)
    is_damaged = errors > 0 or status.state is SourceState.ERROR
    found = status.counters.frames + errors
    return max(found, recording.packets) if is_damaged and fps is None else found  # one error may cost several
