"""A recording put to the test: what to play it with, and the replay together with what the machine was like meanwhile.

For the command line and the pytest plugin alike. Messages name the options of the command line.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.clock import ns_to_ms
from stream.config import StreamConfig, from_options
from stream.errors import ConfigError
from stream.machine import Ticks, other_load, peak_memory_mb, read_ticks, speed_probe
from stream.preflight import check
from stream.recording import Recording, open_recording
from stream.replay import Pace, Tell, Wish, check_wish, recorded_models, recorded_size, replay
from stream.run import Run
from stream.summary import summarize

_FLAGS = {"recognize": "--recognize", "generate": "--generate", "models": "--no-models", "size": "--size"}
_FLAGS |= {"fps": "--fps", "device": "--device"}


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
    memory_mb = peak_memory_mb() if has_own_process else None
    if not is_real:
        return run, summarize(run, memory_mb)
    load = other_load(started[0], read_ticks()) if started else None
    return run, summarize(run, memory_mb, min(before_ms, speed_probe()), load)
