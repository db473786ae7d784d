"""pts that only grow, packets at their time, frames at a rate."""

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from stream.clock import NS_PER_MS, NS_PER_S
from stream.timeline import DEFAULT_INTERVAL, Pacer, RateLimit, RateMeter, Timeline, sane_fps, to_ticks

FRAME = DEFAULT_INTERVAL  # 30 fps
FRAME_NS = FRAME * NS_PER_S // 90_000
MPEG_TS_WRAP = 1 << 33


def placed(pts: "list[int | None]", *, is_live: bool = False) -> tuple[list[int], Timeline]:
    line = Timeline(is_live=is_live)
    return [line.place(one, index * FRAME_NS) for index, one in enumerate(pts)], line


def test_good_pts_are_kept_and_start_at_zero() -> None:
    assert placed([9000, 12_000, 15_500])[0] == [0, 3000, 6500]


def test_missing_pts_are_made_up_from_the_declared_rate() -> None:
    line = Timeline(is_live=False)
    line.set_rate(25)
    assert [line.place(None, 0) for _ in range(4)] == [0, 3600, 7200, 10_800]


def test_missing_pts_live_follow_the_arrivals() -> None:
    line = Timeline(is_live=True)
    assert [line.place(None, at_ms * NS_PER_MS) for at_ms in (0, 100, 300)] == [0, 9000, 27_000]


def test_a_first_pts_that_is_missing_does_not_count_as_a_jump() -> None:
    """RTSP's first frame has none."""
    pts, line = placed([None, 6000, 12_000], is_live=True)
    assert pts[2] - pts[1] == 6000
    assert line.discontinuities == 0


def test_a_jump_goes_on_one_frame_later_and_is_counted_once() -> None:
    there = [0, 3000, 6000, 450_000_000, 450_003_000]
    for is_live in (False, True):
        pts, line = placed(there, is_live=is_live)
        assert pts == [0, 3000, 6000, 9000, 12_000]
        assert line.discontinuities == 1


def test_a_step_back_goes_on_one_frame_later_and_is_counted_once() -> None:
    pts, line = placed([90_000, 93_000, 0, 3000])
    assert (pts, line.discontinuities) == ([0, 3000, 6000, 9000], 1)


def test_a_wrap_is_no_jump() -> None:
    for wrap in (MPEG_TS_WRAP, 1 << 32):
        pts, line = placed([wrap - 3000, 0, 3000])
        assert (pts, line.discontinuities) == ([0, 3000, 6000], 0)


def test_a_long_still_in_a_recording_keeps_its_length() -> None:
    """A screen recording sends no frame while nothing moves."""
    pts, line = placed([0, 3000, 3000 + 5 * 90_000])
    assert (pts[-1], line.discontinuities) == (3000 + 5 * 90_000, 0)


def test_live_a_step_that_the_clock_does_not_confirm_is_a_jump() -> None:
    pts, line = placed([0, 3000, 3000 + 5 * 90_000], is_live=True)
    assert (pts, line.discontinuities) == ([0, 3000, 6000], 1)


def test_a_seam_goes_on_one_frame_later_and_is_no_jump() -> None:
    line = Timeline(is_live=False)
    first = [line.place(pts, 0) for pts in (0, 3000, 6000)]
    line.seam()
    assert first + [line.place(pts, 0) for pts in (0, 3000)] == [0, 3000, 6000, 9000, 12_000]
    assert line.discontinuities == 0


def test_after_a_reconnect_the_time_away_is_in_the_pts() -> None:
    line = Timeline(is_live=True)
    line.place(0, 0)
    line.seam()
    assert line.place(777, 4 * NS_PER_S) == 4 * 90_000


@given(
    frames=st.lists(
        st.tuples(st.none() | st.integers(-(1 << 63), 1 << 63) | st.integers(0, 20_000), st.integers(0, 10**10)),
        max_size=60,
    ),
    is_live=st.booleans(),
    rate=st.none() | st.floats() | st.fractions(),
    seams=st.sets(st.integers(0, 59)),
)
def test_pts_strictly_increase_whatever_comes(
    frames: "list[tuple[int | None, int]]", is_live: bool, rate: "float | Fraction | None", seams: set[int]
) -> None:
    line = Timeline(is_live=is_live)
    line.set_rate(rate)
    out: list[int] = []
    for index, (pts, captured_ns) in enumerate(frames):
        if index in seams:
            line.seam()
        out.append(line.place(pts, captured_ns))
    assert all(isinstance(pts, int) for pts in out)
    assert all(after > before for before, after in itertools.pairwise(out))
    assert out[:1] in ([], [0])


def test_a_recording_is_due_at_its_own_pace() -> None:
    pacer = Pacer()
    assert [pacer.due_ns(dts, 7) - 7 for dts in (500, 3500, 6500)] == [0, FRAME_NS, 2 * FRAME_NS]


def test_a_recording_over_a_second_behind_starts_counting_anew() -> None:
    pacer = Pacer()
    pacer.due_ns(0, 0)
    assert pacer.due_ns(3000, NS_PER_S) == FRAME_NS  # late, but it may catch up
    now_ns = 2 * NS_PER_S
    assert pacer.due_ns(6000, now_ns) == now_ns
    assert pacer.resets == 1
    assert abs(pacer.due_ns(9000, now_ns) - now_ns - FRAME_NS) <= 1


def test_the_next_loop_is_due_one_frame_after_the_last() -> None:
    pacer = Pacer()
    pacer.due_ns(0, 0)
    pacer.due_ns(3000, 0)
    pacer.seam()
    assert pacer.due_ns(0, 0) == 2 * FRAME_NS


def admitted(limit_fps: float | None, pts: list[int]) -> int:
    limit = RateLimit(limit_fps)
    return sum(limit.admits(one) for one in pts)


def test_a_rate_limit_lets_an_even_share_through() -> None:
    pts = [index * 3000 for index in range(300)]
    for limit_fps in (1, 5, 10, 12.5, 15, 20, 25, 29.97):
        assert abs(admitted(limit_fps, pts) - limit_fps * 10) <= 1, limit_fps
    for free in (None, 30.0, 60.0):
        assert admitted(free, pts) == 300


@given(jitter=st.lists(st.integers(-700, 700), min_size=150, max_size=150))
def test_a_limit_of_the_sources_own_rate_drops_nothing_for_jitter(jitter: list[int]) -> None:
    assert admitted(30, sorted(index * 3000 + one for index, one in enumerate(jitter))) >= 149


def test_the_rate_is_measured_from_captures() -> None:
    meter = RateMeter()
    assert meter.add(5) is None
    assert meter.add(5) is None
    rates = [meter.add(5 + index * FRAME_NS) for index in range(1, 200)]
    assert rates[-1] is not None
    assert abs(rates[-1] - 30) < 0.01


def test_a_declared_rate_that_cannot_be_is_ignored() -> None:
    assert [sane_fps(fps) for fps in (None, 0, -5, 90_000, float("nan"), float("inf"))] == [None] * 6
    assert sane_fps(Fraction(30_000, 1001)) is not None


def test_ticks_are_rounded_not_cut() -> None:
    assert to_ticks(2, Fraction(1, 1000)) == 180
    assert to_ticks(1, Fraction(1, 12_800)) == 7
