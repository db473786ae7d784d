"""Traces are held against the published rules of the Trace Event format, for made-up runs and for random ones."""

import json
from collections import defaultdict
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.perfetto import trace_json
from stream.run import Arrival, Cost, Outcome, Run
from tests.made_run import INFO, MS, START_NS, empty_run, made_run

Event = dict[str, Any]
CLOSE = 0.0011  # microseconds; times are divided by 1000 into floats


def events_of(*runs: Run) -> list[Event]:
    trace = json.loads(json.dumps(trace_json(runs), allow_nan=False))
    events: list[Event] = trace["traceEvents"]
    return events


def of(events: list[Event], *phases: str) -> list[Event]:
    return [event for event in events if event["ph"] in phases]


def check_rules(events: list[Event]) -> None:
    """Assert what https://ui.perfetto.dev needs of a file."""
    for event in events:
        assert event["ph"] in "MXsftbeiC"
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and isinstance(event["name"], str)
        assert event["ph"] == "M" or isinstance(event["ts"], int | float)
    check_names(events)
    check_slices(events)
    check_flows(events)
    check_waits(events)
    assert all(event["s"] == "t" for event in of(events, "i"))
    assert all(isinstance(value, int | float) for event in of(events, "C") for value in event["args"].values())


def check_names(events: list[Event]) -> None:
    processes = {event["pid"] for event in events if event["name"] == "process_name"}
    threads = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert {event["pid"] for event in events} <= processes
    assert {(event["pid"], event["tid"]) for event in of(events, *"Xsfti")} <= threads


def check_slices(events: list[Event]) -> None:
    tracks = defaultdict(list)
    for event in of(events, "X"):
        assert event["dur"] >= 0
        tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in tracks.values():
        open_until: list[float] = []
        for start, end in sorted(slices, key=lambda one: (one[0], -one[1])):
            while open_until and open_until[-1] <= start + CLOSE:
                open_until.pop()
            assert not open_until or end <= open_until[-1] + CLOSE, "a slice overlaps another in part"
            open_until.append(end)


def check_flows(events: list[Event]) -> None:
    slices = defaultdict(list)
    for event in of(events, "X"):
        slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    flows = defaultdict(list)
    for event in of(events, *"stf"):
        flows[event["id"]].append(event)
        assert event["ph"] == "s" or event["bp"] == "e"
        around = slices[event["pid"], event["tid"]]
        assert any(start - CLOSE <= event["ts"] <= end + CLOSE for start, end in around), "an arrow outside a slice"
    for way in flows.values():
        phases = [event["ph"] for event in way]
        assert sorted(phases, key="stf".index) == phases, "an arrow starts once, goes on, and ends once"
        assert (phases[0], phases[-1], phases.count("s"), phases.count("f")) == ("s", "f", 1, 1)
        assert [event["ts"] for event in way] == sorted(event["ts"] for event in way)


def check_waits(events: list[Event]) -> None:
    waits = defaultdict(list)
    for event in of(events, "b", "e"):
        waits[event["cat"], event["id"]].append(event)
    for pair in waits.values():
        assert [event["ph"] for event in pair] == ["b", "e"]
        assert pair[0]["ts"] <= pair[1]["ts"]


def test_a_run_keeps_the_rules_and_has_all_its_parts() -> None:
    run = made_run(300)
    events = events_of(run)
    check_rules(events)
    names = {event["args"]["name"] for event in of(events, "M") if event["name"] == "thread_name"}
    assert {"source", "lane generate", "lane boxes", "encoder", "network", "ladder", "drops"} <= names
    assert [event["args"]["name"] for event in events if event["name"] == "process_name"] == ["livelens front door"]
    jobs = [event for event in of(events, "X") if event["cat"] == "job"]
    assert len(jobs) == len(run.costs)
    sent = [event for event in of(events, "X") if event["cat"] == "send"]
    assert len(sent) == len(of(events, "C")) == len(of(events, "s")) == sum(one.is_shown for one in run.outcomes)
    assert {event["args"]["reason"] for event in of(events, "i") if "seq" in event["args"]} == {
        one.dropped for one in run.outcomes if one.dropped
    }
    assert [event["args"]["reason"] for event in of(events, "i") if "after" in event["args"]] == [
        one.reason for one in run.ladder
    ]


def test_times_are_microseconds_from_the_first_arrival() -> None:
    events = events_of(made_run(10))
    decode = next(event for event in of(events, "X") if event["name"] == "decode 0")
    assert (decode["ts"], decode["dur"]) == (0.0, 5000.0)


def test_slack_is_what_was_left_to_the_deadline() -> None:
    run = made_run(40)
    slacks = [event["args"]["ms"] for event in of(events_of(run), "C")]
    assert sorted(slacks) == sorted(round(-one.late_ns / 1e6, 3) for one in run.outcomes if one.is_shown)


def test_frames_that_overlap_get_a_further_track() -> None:
    run = Run(INFO)
    for seq in range(3):  # three frames are decoded at once
        at_ns = START_NS + seq * MS
        run.add(Outcome(seq, "", at_ns, at_ns, {"captured": at_ns, "decoded": at_ns + 10 * MS}))
    events = events_of(run)
    check_rules(events)
    names = {event["args"]["name"] for event in of(events, "M") if event["name"] == "thread_name"}
    assert {"source", "source (2)", "source (3)"} <= names


def test_a_frame_is_followed_through_its_jobs_to_the_network() -> None:
    run = made_run(1)
    events = events_of(run)
    tracks = {event["tid"]: event["args"]["name"] for event in of(events, "M") if event["name"] == "thread_name"}
    way = [tracks[event["tid"]] for event in of(events, *"stf")]
    assert way[0] == "source"
    assert "lane generate" in way
    assert way[-1] == "network"


def test_streams_of_one_clock_are_processes_side_by_side() -> None:
    other = made_run(20, seed=2, info=replace(INFO, stream="back door"), start_ns=START_NS + 500 * MS)
    events = events_of(made_run(20), other)
    check_rules(events)
    assert min(event["ts"] for event in of(events, "X") if event["pid"] == 2) == 500_000.0


def test_runs_without_frames_give_an_empty_trace() -> None:
    check_rules(events_of(empty_run()))
    assert events_of() == []
    alone = Run(INFO)
    alone.add(Arrival(0, 0, START_NS, START_NS + MS, 360, 640))
    check_rules(events_of(alone))


NAMES = ("decoded", "queued", "started", "finished", "taken", "composed", "encoded", "sent")
STAMPS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 200 * MS))
JOBS = st.tuples(
    st.integers(0, 300 * MS), st.integers(0, 80 * MS), st.lists(st.integers(0, 9), max_size=3, unique=True)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300 * MS), STAMPS, st.booleans()), max_size=10), st.lists(JOBS, max_size=12))
def test_any_run_keeps_the_rules(
    frames: list[tuple[int, dict[str, int], bool]], jobs: list[tuple[int, int, list[int]]]
) -> None:
    run = Run(INFO)
    for seq, (at_ns, after, is_dropped) in enumerate(frames):
        stamps = {"captured": at_ns} | {name: at_ns + ns for name, ns in after.items()}  # in any order, some missing
        run.add(Outcome(seq, "no_time" if is_dropped else "", max(stamps.values()), at_ns + 150 * MS, stamps))
    for start_ns, cost_ns, seqs in jobs:
        run.add(Cost("style", "a", tuple(seqs), len(seqs), "generate", start_ns, start_ns + cost_ns))
    check_rules(events_of(run))
