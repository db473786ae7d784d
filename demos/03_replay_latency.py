"""A recording through the whole pipeline, in its own time, and what each frame cost: a latency test.

You will see: a table of each step's p50, p95 and p99, where the frames went, and a verdict. The exit
code is 1 when frames came late more often than allowed, so a script or CI can use it. The command
`livelens replay` does the same and more; this is the way to call it from a program of your own.

    python demos/03_replay_latency.py my.mp4 --budget 120 --min-on-time 99
"""

import argparse
from pathlib import Path

from stream.address import sample_clip
from stream.config import StreamConfig
from stream.recording import open_recording
from stream.replay import Pace, Wish, replay
from stream.summary import summarize
from stream.tables import print_replay
from stream.verdict import Limits, failures


def main(clip: Path, budget_ms: float, min_on_time: float) -> int:
    """Replay the clip, print what became of its frames, and return the exit code."""
    config = StreamConfig(source=str(clip), budget_ms=budget_ms, allow_late=True)
    run = replay(Wish(open_recording(clip), Pace.REALTIME, config), tell=lambda done, total: None)
    summary = summarize(run)
    print_replay(summary)
    failed = failures(summary, Limits(min_on_time_percent=min_on_time), comparisons=None)
    print(f"wanted {min_on_time:g} % within {budget_ms:g} ms: {'; '.join(failed) or 'passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", default=sample_clip().address, type=Path)
    parser.add_argument("--budget", type=float, default=150, metavar="MS")
    parser.add_argument("--min-on-time", type=float, default=95, metavar="PERCENT")
    given = parser.parse_args()
    raise SystemExit(main(given.clip, given.budget, given.min_on_time))
