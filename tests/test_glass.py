"""What viewers report of their screens, made into what a deadline loses."""

from stream.clock import NS_PER_MS
from stream.glass import LEAST_SAMPLES, MOST_NS, REMEMBERED, SILENT_NS, Glass

MS = NS_PER_MS


def reported(glass: Glass, viewer: str, ms: float, count: int = LEAST_SAMPLES, start: int = 0) -> None:
    for seq in range(start, start + count):
        glass.sent(seq, seq * 33 * MS, seq * 33 * MS + 50 * MS)
        glass.shown(viewer, seq, seq * 33 * MS + round((50 + ms) * MS))


def test_a_report_becomes_both_distances() -> None:
    glass = Glass(150 * MS)
    reported(glass, "a", 30)
    summary = glass.summary()
    assert summary["capture_to_shown"]["p50"] == 80  # type: ignore[index]
    assert summary["to_screen"]["p50"] == 30  # type: ignore[index]
    assert glass.downstream_ns() == 30 * MS


def test_nothing_is_said_or_planned_while_nobody_reports() -> None:
    glass = Glass(150 * MS)
    assert (glass.summary(), glass.downstream_ns()) == ({}, 0)


def test_a_viewer_is_believed_after_some_reports_and_forgotten_when_it_leaves() -> None:
    glass = Glass(150 * MS)
    reported(glass, "a", 30, LEAST_SAMPLES - 1)
    assert glass.downstream_ns() == 0
    reported(glass, "a", 30, start=LEAST_SAMPLES)
    assert glass.downstream_ns() == 30 * MS
    glass.left("a")
    assert glass.downstream_ns() == 0


def test_the_worst_viewer_counts_within_half_the_budget() -> None:
    glass = Glass(150 * MS)
    reported(glass, "a", 20)
    reported(glass, "b", 60)
    assert glass.downstream_ns() == 60 * MS
    reported(glass, "c", 2000)
    assert glass.downstream_ns() == 75 * MS


def test_one_late_picture_changes_nothing() -> None:
    glass = Glass(150 * MS)
    reported(glass, "a", 30)
    reported(glass, "a", 900, 1, start=100)
    assert glass.downstream_ns() == 30 * MS


def test_reports_that_cannot_be_true_are_refused() -> None:
    glass = Glass(150 * MS)
    glass.sent(1, 0, 50 * MS)
    for seq, shown_ns in ((2, 60 * MS), (1, 20 * MS), (1, 50 * MS + MOST_NS + 1), (-5, 0)):
        glass.shown("a", seq, shown_ns)
    assert glass.refused == 4
    assert glass.summary() == {}


def test_what_is_remembered_is_bounded() -> None:
    glass = Glass(150 * MS)
    for seq in range(REMEMBERED * 3):
        glass.sent(seq, 0, 0)
    glass.shown("a", 0, 0)
    assert glass.refused == 1
    assert len(glass._sent) == REMEMBERED


def test_a_frame_reported_again_counts_once() -> None:
    glass = Glass(150 * MS)
    glass.sent(1, 0, 50 * MS)
    for _ in range(LEAST_SAMPLES * 2):
        glass.shown("a", 1, 120 * MS)
    assert (glass.downstream_ns(), glass.refused) == (0, LEAST_SAMPLES * 2 - 1)


def test_a_viewer_that_falls_silent_counts_no_more() -> None:
    glass = Glass(150 * MS)
    reported(glass, "a", 30)
    glass.sent(1000, 0, SILENT_NS + LEAST_SAMPLES * 33 * MS + 50 * MS)
    assert glass.downstream_ns() == 0
