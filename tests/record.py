"""Feed a recorder in tests, and look at what it wrote.

Run as a program it records a source until it is killed: python -m tests.record ADDRESS CLIP
It prints the number of each frame, and its recorder's status when recording has stopped by itself.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import av

from stream.clock import NS_PER_S, Clock, MonotonicClock
from stream.recorder import Recorder, side_path
from stream.run import Run, RunInfo, read_run
from stream.source import open_source, parse_source
from stream.tap import Track, copy_track

INFO = RunInfo("cam", "", "cpu", "CPU", 2, 150_000_000, ())


class Tee:
    """A tap before a recorder, that keeps the payloads."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.payloads: list[bytes] = []
        self.opened, self.seam, self.picture = recorder.opened, recorder.seam, recorder.picture

    def packet(self, packet: Any, arrived_ns: int) -> None:
        self.payloads.append(bytes(packet))
        self.recorder.packet(packet, arrived_ns)


def feed(recorder: Recorder, path: Path, *, start_ns: int = NS_PER_S, first: int = 0, last: int | None = None) -> int:
    """Give a recorder the packets of a file as if they came at 30 a second; return how many."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        recorder.opened(track_of(stream))
        packets = [packet for packet in container.demux(stream) if packet.size][first:last]
        for index, packet in enumerate(packets):
            recorder.packet(packet, start_ns + index * NS_PER_S // 30)
    return len(packets)


def track_of(stream: Any) -> Track:
    return copy_track(stream, is_live=False, has_clock=True)


def record(path: Path, clock: Clock | None = None) -> Recorder:
    return Recorder(path, clock or MonotonicClock(), INFO)


def payloads(path: Path) -> list[bytes]:
    """Return the video packets of a file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def times_ms(path: Path) -> list[int]:
    """Return the pts of a clip's packets, in ms."""
    with av.open(str(path)) as container:
        return [round(packet.pts * packet.time_base * 1000) for packet in container.demux(video=0) if packet.size]


def pictures(path: Path) -> int:
    """Return how many pictures a file decodes to."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def run_of(clip: Path) -> Run:
    """Return what the side file of a clip says."""
    with side_path(clip).open(encoding="utf-8") as lines:
        return read_run(lines, clip.name)


def nal_units(payload: bytes) -> list[bytes]:
    """Return the NAL units of an H.264 packet, with start codes (Annex B) or with lengths (as in MP4)."""
    if payload[:3] == b"\0\0\1" or payload[:4] == b"\0\0\0\1":
        return [unit.rstrip(b"\0") for unit in payload.split(b"\0\0\1") if unit.rstrip(b"\0")]
    units, at = [], 0
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 4], "big")
        units.append(payload[at + 4 : at + 4 + size].rstrip(b"\0"))
        at += 4 + size
    return units


def main(address: str, clip: str) -> None:
    """Record until killed."""
    clock = MonotonicClock()
    recorder = Recorder(Path(clip), clock, INFO)
    source = open_source(
        parse_source(address),
        stream="cam",
        clock=clock,
        emit=lambda frame: print(frame.seq, flush=True),
        tap=recorder,
    )
    source.start()
    while recorder.status()["error"] is None:
        time.sleep(0.02)
    frames = source.status().counters.frames
    time.sleep(0.5)
    lives = source.status().counters.frames > frames
    source.stop()
    recorder.close()
    print(json.dumps(recorder.status() | {"lives": lives}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
