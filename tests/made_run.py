"""Made-up runs for the tests of summaries, reports and comparisons: seeded, so the same call gives the same run."""

import random
from dataclasses import dataclass

from stream.run import Arrival, Cost, Decision, LadderChange, Outcome, Run, RungInfo, RunInfo, StageInfo

MS = 1_000_000  # ns
START_NS = 7_000_000_000_000  # clocks start anywhere
INTERVAL_NS = 33_333_333  # 30 frames a second
BUDGET_NS = 150 * MS
STYLE = StageInfo("style", "generate", "generate", 2, 0, (), (RungInfo("640 bf16", 1.0), RungInfo("480 bf16", 0.8)))
BOXES = StageInfo("boxes", "recognize", "boxes", 1, 500 * MS, (), (RungInfo("416 bf16", 1.0),))
VERSIONS = {"livelens": "0.1", "torch": "2.8.0", "openvino": "2025.3.0", "python": "3.11.7"}
INFO = RunInfo(
    "front door",
    "walk.mkv",
    "cpu",
    "CPU, 2 cores, AVX-512 bf16",
    2,
    BUDGET_NS,
    (STYLE, BOXES),
    pace="realtime",
    created="2026-11-25T08:00:00+00:00",
    versions=VERSIONS,
)


@dataclass(frozen=True, slots=True)
class Way:
    """What happened to one made frame; times in ns since its capture."""

    model_ns: int
    variant: str
    is_dropped: bool
    is_skipped: bool


def made_run(frames: int, seed: int = 0, info: RunInfo = INFO, start_ns: int = START_NS) -> Run:
    """Return a run with every kind of outcome: a slow stretch in the middle, two ladder changes, drops, reuse."""
    chance, run = random.Random(seed), Run(info)
    for seq in range(frames):
        is_slow = 0.45 < seq / frames < 0.6
        _add_frame(run, seq, start_ns + seq * INTERVAL_NS, is_slow, chance)
    if frames:
        _add_ladder(run, frames, start_ns)
    return run


def empty_run() -> Run:
    """Return the run of a source that never gave a frame."""
    return Run(INFO)


def _add_frame(run: Run, seq: int, captured_ns: int, is_slow: bool, chance: random.Random) -> None:
    run.add(Arrival(seq, seq * 3000, captured_ns, captured_ns + 6 * MS, 360, 640))
    model_ns = int(chance.lognormvariate(0, 0.3) * (85 if is_slow else 45) * MS)
    way = Way(
        model_ns, "480 bf16" if is_slow else "640 bf16", chance.random() < (0.2 if is_slow else 0.02), seq % 97 == 5
    )
    run.add(_dropped(seq, captured_ns, chance) if way.is_dropped else _shown(run, seq, captured_ns, way, chance))


def _dropped(seq: int, captured_ns: int, chance: random.Random) -> Outcome:
    reason, cause = chance.choice([("superseded", "waiting"), ("no_time", "model"), ("encoder_busy", "encode")])
    stamps = {"captured": captured_ns, "decoded": captured_ns + 5 * MS, "queued": captured_ns + 6 * MS}
    return Outcome(seq, reason, captured_ns + 40 * MS, captured_ns + BUDGET_NS, stamps, cause=cause)


def _shown(run: Run, seq: int, captured_ns: int, way: Way, chance: random.Random) -> Outcome:
    started_ns = captured_ns + 8 * MS + int(chance.random() * 12 * MS)
    finished_ns = started_ns + way.model_ns
    stamps = {"captured": captured_ns, "decoded": captured_ns + 5 * MS, "queued": captured_ns + 6 * MS}
    stamps |= {"started": started_ns, "finished": finished_ns}
    stamps |= {"taken": finished_ns + MS, "composed": finished_ns + 3 * MS}
    stamps |= {"encoded": finished_ns + 7 * MS + int(chance.random() * 3 * MS)}
    stamps["sent"] = stamps["encoded"] + int(chance.expovariate(1 / (2 * MS)))
    run.add(Cost("style", way.variant, (seq,), 1, "generate", started_ns, finished_ns))
    late_ns = stamps["sent"] - captured_ns - BUDGET_NS
    boxes = (
        Decision("skip", "", "circuit open")
        if way.is_skipped
        else Decision("refresh", "416 bf16", "lane free", 33 * MS)
    )
    if seq % 3 == 0 and not way.is_skipped:
        run.add(Cost("boxes", "416 bf16", (seq,), 1, "boxes", started_ns, started_ns + 20 * MS))
        boxes = Decision("run", "416 bf16", "fits")
    decisions = {"style": Decision("run", way.variant, "fits"), "boxes": boxes}
    cause = "model" if late_ns > 0 or way.is_skipped else ""
    planned = {"models": 50 * MS, "tail": 9 * MS}
    return Outcome(seq, "", stamps["sent"], captured_ns + BUDGET_NS, stamps, decisions, planned, late_ns, cause)


def _add_ladder(run: Run, frames: int, start_ns: int) -> None:
    down_ns, up_ns = (start_ns + int(share * frames) * INTERVAL_NS for share in (0.45, 0.6))
    run.add(LadderChange(down_ns, "style", "640 bf16", "480 bf16", "predicted 71 ms, 58 ms are left"))
    run.add(LadderChange(up_ns, "style", "480 bf16", "640 bf16", "predicted 46 ms fits again since 1 s"))
