"""A recording through the whole pipeline, in its own time, and what each frame cost: a latency test.

You will see: a table of each step's p50, p95 and p99, where the frames went, and a verdict. The exit
code is 1 when frames came late more often than allowed, so a script or CI can use it.

    python demos/03_replay_latency.py my.mp4 --budget 120 --min-on-time 99
"""

import argparse
import asyncio
from contextlib import suppress

from rich.console import Console
from rich.table import Table

from stream.clock import MonotonicClock
from stream.config import StreamConfig
from stream.device import open_device
from stream.live import LiveStream
from stream.mailbox import Closed
from stream.pipeline import Pipeline
from stream.source import SourceState, sample_clip
from stream.wiring import stream_parts


async def replay(config: StreamConfig) -> dict:
    """Play the recording once, encoder included, and return what the API would say of the stream."""
    clock = MonotonicClock()
    device = open_device("auto", clock)
    stream = LiveStream(stream_parts(config, device, clock), Pipeline(device, clock), device, clock)
    stream.start()
    await stream.warm_up()
    if stream.problem or stream.broadcast is None:
        raise SystemExit(f"a model is missing: {stream.problem}")
    feed = stream.broadcast.make_feed("H264")
    stream.broadcast.add_viewer(feed)
    viewer = asyncio.create_task(take_all(feed))
    while stream.source_status().state not in (SourceState.FINISHED, SourceState.ERROR):
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)  # let the last frames out
    found = stream.status()
    await stream.stop()
    await viewer
    device.close()
    return found


async def take_all(feed) -> None:
    """Stand in for a viewer: take packets until the stream ends."""
    with suppress(Closed):
        while True:
            await feed.next()


def show(found: dict) -> float:
    """Print the account and return the share of shown frames that were on time, in percent."""
    table = Table("step", "p50 ms", "p95 ms", "p99 ms")
    for name, times in {
        **found["latency_ms"]["steps"],
        "capture to send": found["latency_ms"]["capture_to_send"],
    }.items():
        table.add_row(name, *(f"{times[q]:.1f}" for q in ("p50", "p95", "p99")))
    frames = found["frames"]
    Console().print(table, f"frames: {frames}")
    return 100 * frames["on_time"] / max(1, frames["shown"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", default=sample_clip().address)
    parser.add_argument("--budget", type=float, default=150, metavar="MS")
    parser.add_argument("--min-on-time", type=float, default=95, metavar="PERCENT")
    given = parser.parse_args()
    on_time = show(asyncio.run(replay(StreamConfig(source=given.clip, budget_ms=given.budget, loop=False))))
    print(f"{on_time:.1f} % of the frames shown were within {given.budget:g} ms; wanted {given.min_on_time:g} %")
    raise SystemExit(on_time < given.min_on_time)
