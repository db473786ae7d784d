"""`livelens record`: a stream with its models and a recorder, and no server."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from stream.clock import NS_PER_S, MonotonicClock
from stream.config import StreamConfig
from stream.device import open_device
from stream.errors import ConfigError
from stream.headless import pause, play_out
from stream.lag import hand_over_often
from stream.live import LiveStream
from stream.parts import StreamLog
from stream.pipeline import Pipeline
from stream.signals import on_stop_signal
from stream.source import SourceState, parse_source
from stream.wiring import stream_parts

FIRST_PACKET_S = 30.0  # how long `seconds` waits for something to count from


def record_until(
    config: StreamConfig, device: str, seconds: float | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Record until the source ends, Ctrl-C, or so many seconds from the first packet; return the recorder's status.

    With it comes "is_warm": whether models ran at all. `tell` is called once it is clear that the command goes on.
    Blocks; owns an event loop. Raises ConfigError for a file that cannot be made, or a source that gives nothing.
    """
    hand_over_often()
    with asyncio.Runner() as runner:
        return runner.run(_record(config, device, seconds, tell))


async def _record(
    config: StreamConfig, device_name: str, seconds: float | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    clock, stop = MonotonicClock(), asyncio.Event()
    on_stop_signal(stop.set)
    device = open_device(device_name, clock)
    parts = stream_parts(config, device, clock)
    assert parts.recorder is not None
    pipeline = Pipeline(device, clock)
    stream = LiveStream(parts, pipeline, device, clock)
    watch = Watch(stream, parts.recorder, is_live=parse_source(config.source).is_live, seconds=seconds)
    try:
        stream.start()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(stream.warm_up()), group.create_task(watch.run(stop, tell))]
            while stream.broadcast is None and not stop.is_set() and not watch.has_ended():
                await pause(stop)
            if stream.broadcast is not None:
                await play_out(stream, pipeline, stop, watch.has_ended)
            for task in tasks:
                task.cancel()
    finally:
        await stream.stop()
        device.close()
    status = parts.recorder.status()
    if not status["packets"] and not status["error"]:
        why = re.sub(r"; trying again( now and then)?$", "", watch.message)
        raise ConfigError(f"{config.record}: nothing came to record; {why or config.source}")
    return status | {"is_warm": stream.is_ready}


class Watch:
    """Looks after a recording: says how far it is, and when it is over. Event loop only."""

    def __init__(self, stream: LiveStream, recorder: StreamLog, *, is_live: bool, seconds: float | None) -> None:
        self.message = ""  # what the source said last before it was stopped
        self._stream = stream
        self._recorder = recorder
        self._is_live = is_live
        self._seconds = seconds

    def has_ended(self) -> bool:
        """Whether nothing more will come. A live source that was there once is tried again whatever goes wrong."""
        status = self._stream.source_status()
        state, self.message = status.state, status.message
        has_packets = self._recorder.status()["packets"] > 0
        return state is SourceState.FINISHED or (
            state in (SourceState.ERROR, SourceState.WAITING) and not (self._is_live and has_packets)
        )

    async def run(self, stop: asyncio.Event, tell: Callable[[str], None]) -> None:
        """Set `stop` after so many seconds, or when nothing more can be written."""
        clock = MonotonicClock()
        started_ns, first_ns = clock.now_ns(), None
        while not stop.is_set():
            now, now_ns = self._recorder.status(), clock.now_ns()
            if first_ns is None and now["packets"]:
                first_ns = now_ns
            self._tell(now, tell)
            if self._seconds is not None:
                since_ns, limit_s = (started_ns, FIRST_PACKET_S) if first_ns is None else (first_ns, self._seconds)
                if now_ns - since_ns >= limit_s * NS_PER_S or now["seconds"] >= self._seconds:
                    stop.set()
            if now["error"]:
                stop.set()
            await pause(stop)

    def _tell(self, now: dict[str, Any], tell: Callable[[str], None]) -> None:
        status = self._stream.source_status()
        if now["packets"]:
            size_mb = now["bytes"] / 1e6
            tell(f"recording: {now['seconds']:.1f} s, {now['packets']} packets, {size_mb:.1f} MB (Ctrl-C ends it)")
        elif status.state is SourceState.RETRYING:
            tell(f"{status.message} (Ctrl-C ends it)")
