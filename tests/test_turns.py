"""Turns of streams, by numbers alone."""

import math

from stream.clock import NS_PER_MS, NS_PER_S
from stream.turns import CREDIT_NS, Turns

MS = NS_PER_MS
INTERVAL = 33 * MS


def arrive(turns: Turns, captured_ms: float, virtual: float = 0.0, *, is_newest: bool = True) -> None:
    captured_ns = round(captured_ms * MS)
    turns.arrived(captured_ns, captured_ns + 150 * MS, INTERVAL, virtual, is_newest=is_newest)


def test_a_frame_that_replaces_another_inherits_its_deadline_and_its_turn() -> None:
    turns = Turns(1, 0)
    arrive(turns, 0, virtual=10.0)
    arrive(turns, 33, virtual=99.0)
    assert (turns.due_ns, turns.turn) == (150 * MS, 10.0)


def test_the_next_turn_comes_after_what_the_last_one_cost_by_weight() -> None:
    turns = Turns(2, 0)
    arrive(turns, 0)
    assert turns.taken(40 * MS, 5 * MS) == 0
    arrive(turns, 33)
    assert turns.turn == 20 * MS


def test_a_job_that_took_longer_is_charged_to_the_frame_that_waits_too() -> None:
    turns = Turns(1, 0)
    arrive(turns, 0)
    turns.taken(40 * MS, 0)
    arrive(turns, 33)
    turns.charge(15 * MS, 0.0)
    assert turns.turn == 55 * MS
    turns.taken(10 * MS, 66 * MS)
    arrive(turns, 66)
    assert turns.turn == 65 * MS


def test_a_stream_that_was_away_saves_up_no_turns() -> None:
    turns = Turns(1, 0)
    arrive(turns, 0)
    turns.taken(10 * MS, 0)
    arrive(turns, 5000, virtual=3.0 * NS_PER_S)
    assert turns.turn == 3.0 * NS_PER_S


def test_a_stream_between_two_frames_keeps_its_place_within_its_credit() -> None:
    turns = Turns(1, 0)
    arrive(turns, 0)
    turns.taken(10 * MS, 0)
    arrive(turns, 33, virtual=0.3 * NS_PER_S)
    assert turns.turn == 10 * MS
    turns.taken(10 * MS, 33 * MS)
    arrive(turns, 66, virtual=2.0 * NS_PER_S)
    assert turns.turn == 2.0 * NS_PER_S - CREDIT_NS


def test_a_stream_is_urgent_once_its_minimum_rate_is_missed() -> None:
    turns = Turns(1, 4)
    assert turns.urgent_at_ns == math.inf
    arrive(turns, 100)
    assert turns.urgent_at_ns == 350 * MS
    turns.taken(0, 200 * MS)
    assert turns.urgent_at_ns == 450 * MS
    assert Turns(1, 0).urgent_at_ns == math.inf


def test_an_older_frame_that_the_loop_hears_of_late_takes_no_turn() -> None:
    turns = Turns(1, 0)
    arrive(turns, 0, is_newest=False)
    assert turns.due_ns is None
