"""`livelens record`: a stream with its models and a recorder, and no server."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from stream.clock import MonotonicClock
from stream.config import StreamConfig
from stream.device import open_device
from stream.errors import ConfigError
from stream.headless import WATCH_S, play_out
from stream.live import LiveStream
from stream.pipeline import Pipeline
from stream.source import SourceState
from stream.wiring import stream_parts


def record_until(
    config: StreamConfig, device: str, seconds: float | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Record until the source ends, Ctrl-C, or so many seconds from the first packet; return the recorder's status.

    Blocks; owns an event loop. Raises ConfigError for a file that cannot be made, or a source that gives nothing.
    """
    with asyncio.Runner() as runner:
        return runner.run(_record(config, device, seconds, tell))


async def _record(config: StreamConfig, device_name: str, seconds: float | None, tell: Callable[[str], None]) -> Any:
    clock, stop = MonotonicClock(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    device = open_device(device_name, clock)
    parts = stream_parts(config, device, clock)
    assert parts.recorder is not None
    pipeline = Pipeline(device, clock)
    stream = LiveStream(parts, pipeline, device, clock)
    try:
        stream.start()
        async with asyncio.TaskGroup() as group:
            warming = group.create_task(stream.warm_up())
            ending = group.create_task(_end_after(stream, seconds, stop, tell, parts.recorder.status))
            await _until_open(stream, stop)
            if stream.broadcast is not None:
                await play_out(stream, pipeline, stop)
            elif stream.problem and not stop.is_set():
                await stop.wait()  # the video is recorded all the same
            warming.cancel()
            ending.cancel()
    finally:
        await stream.stop()
        device.close()
    status = parts.recorder.status()
    if not status["packets"] and not status["error"]:
        raise ConfigError(stream.source_status().message or f"{config.source}: nothing came to record")
    return status


async def _until_open(stream: LiveStream, stop: asyncio.Event) -> None:
    """Wait until the stream plays, cannot, has ended, or is stopped."""
    while stream.broadcast is None and not stream.problem and not stop.is_set():
        if stream.source_status().state in (SourceState.FINISHED, SourceState.ERROR):
            return
        await asyncio.sleep(WATCH_S)


async def _end_after(
    stream: LiveStream,
    seconds: float | None,
    stop: asyncio.Event,
    tell: Callable[[str], None],
    status: Callable[[], dict[str, Any]],
) -> None:
    """Say how far it is, and stop after so many seconds of recording, or when it cannot go on."""
    while not stop.is_set():
        now = status()
        size_mb = now["bytes"] / 1e6
        tell(f"recording: {now['seconds']:.1f} s, {now['packets']} packets, {size_mb:.1f} MB (Ctrl-C ends it)")
        has_ended = stream.source_status().state in (SourceState.FINISHED, SourceState.ERROR) and not stream.is_ready
        if (seconds is not None and now["seconds"] >= seconds) or now["error"] or has_ended:
            stop.set()
        await asyncio.sleep(WATCH_S)
