"""No buffer is handed out while somebody can still see it, whichever way they look; and nothing grows without bound."""

import gc
import threading
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream.pool import BufferPool

SHAPE = (36, 64, 3)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_buffer_is_used_again_once_nobody_holds_it() -> None:
    pool = BufferPool()
    first = pool.take(SHAPE)
    at = address(first)
    del first
    assert address(pool.take(SHAPE)) == at
    assert (pool.counts().hits, pool.counts().misses) == (1, 1)


@pytest.mark.parametrize(
    "look",
    [
        lambda a: a,
        lambda a: a[:10, ::2],
        lambda a: a[:10].T[1:],
        lambda a: a.reshape(-1),
        lambda a: a.view(np.int8),
        lambda a: memoryview(a),
        lambda a: np.frombuffer(a.data, np.uint8),
        lambda a: np.asarray(memoryview(a)[2:]),
        lambda a: torch.from_numpy(a)[3:],
        lambda a: torch.from_numpy(a[2:]).numpy(),
        lambda a: av.VideoFrame.from_numpy_buffer(a, "rgb24"),
        lambda a: {"deep": [(a[1:],)]},
        lambda a: lambda: a,
        lambda a: np.broadcast_to(a, (2, *SHAPE)),
        lambda a: np.from_dlpack(a),
    ],
)
def test_whatever_still_shows_a_buffer_keeps_it(look: Any) -> None:
    pool = BufferPool()
    buffer = pool.take(SHAPE)
    at, seen = address(buffer), look(buffer)
    del buffer
    assert address(pool.take(SHAPE)) != at
    assert pool.counts().outstanding == 1
    del seen
    gc.collect()
    assert pool.counts().outstanding == 0


def test_the_buffer_used_last_comes_first() -> None:
    pool = BufferPool()
    held = [pool.take(SHAPE) for _ in range(3)]
    addresses = [address(array) for array in held]
    del held[1]
    assert address(held[0]) == addresses[0]
    again = pool.take(SHAPE)
    assert address(again) == addresses[1]
    held.clear()
    del again
    assert address(pool.take(SHAPE)) == addresses[1]


def test_shapes_and_types_do_not_mix() -> None:
    pool = BufferPool()
    one = pool.take((4, 6), np.float32)
    assert (one.shape, one.dtype, one.flags.c_contiguous) == ((4, 6), np.float32, True)
    del one
    assert pool.take((6, 4), np.float32).shape == (6, 4)
    assert pool.take((4, 6), np.uint8).dtype == np.uint8
    assert pool.counts().hits == 0


def test_above_the_bound_buffers_are_made_and_not_kept() -> None:
    pool = BufferPool(most_of_one_shape=2)
    held = [pool.take(SHAPE) for _ in range(5)]
    assert len({address(array) for array in held}) == 5
    assert pool.counts().held_bytes == 2 * held[0].nbytes
    held.clear()
    assert pool.counts().outstanding == 0


def test_a_change_of_size_lets_the_old_size_go() -> None:
    pool = BufferPool(most_bytes=1000)
    old = pool.take((900,))
    assert pool.counts().held_bytes == 900
    new = pool.take((600,))
    assert pool.counts().held_bytes == 600
    old[:] = 1
    new[:] = 2
    assert (old == 1).all()  # it stays with who holds it
    too_large = pool.take((2000,))
    assert too_large.nbytes == 2000
    assert pool.counts().held_bytes <= 1000


def test_threads_never_share_a_buffer() -> None:
    pool, wrong = BufferPool(), []

    def work(mark: int) -> None:
        for _ in range(300):
            buffer = pool.take(SHAPE)
            buffer[:] = mark
            threading.Event().wait(0)
            if (buffer != mark).any():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert pool.counts().hits + pool.counts().misses == 1200


class Holders(RuleBasedStateMachine):
    """Buffers are taken, looked at in all ways, passed on and dropped in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BufferPool(most_bytes=40_000, most_of_one_shape=4, most_shapes=3)
        self.held: list[tuple[Any, int, int]] = []  # (what shows a buffer, its first byte, the mark written there)
        self.mark = 0

    @rule(rows=st.integers(1, 5), kind=st.sampled_from([np.uint8, np.float32]))
    def take(self, rows: int, kind: type) -> None:
        buffer = self.pool.take((rows * 16, 32), kind)
        lows = {low for _, low, _ in self.held}
        assert address(buffer) not in lows
        self.mark = self.mark % 250 + 1
        buffer[:] = self.mark
        self.held.append((buffer, address(buffer), self.mark))

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        how=st.sampled_from([lambda a: a[1:], memoryview, lambda a: a.T, lambda a: np.asarray(a)[:, 3:]]),
    )
    def look_only(self, data: st.DataObject, how: Any) -> None:
        place = data.draw(st.integers(0, len(self.held) - 1))
        shown, low, mark = self.held[place]
        self.held[place] = (how(np.asarray(shown)) if np.asarray(shown).shape[0] > 1 else shown, low, mark)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        del self.held[data.draw(st.integers(0, len(self.held) - 1))]

    @invariant()
    def what_is_held_is_never_overwritten(self) -> None:
        for shown, _, mark in self.held:
            assert (np.asarray(shown) == mark).all()

    @invariant()
    def the_pool_stays_within_its_bounds(self) -> None:
        counts = self.pool.counts()
        assert counts.held_bytes <= 40_000
        assert 0 <= counts.outstanding <= len(self.held)


TestHolders = Holders.TestCase
TestHolders.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=60))
def test_as_many_buffers_are_made_as_were_held_at_once(steps: list[tuple[bool, int]]) -> None:
    pool, held, most = BufferPool(most_of_one_shape=64), [], 0
    for is_take, place in steps:
        if is_take:
            held.append(pool.take((8, 8)))
        elif held:
            del held[place % len(held)]
        most = max(most, len(held))
    assert pool.counts().misses == most
    assert pool.counts().outstanding == len(held)


def test_buffers_of_another_allocator_are_counted_the_same() -> None:
    """As page-locked ones are: torch's memory seen as an array. What is a view already would not be counted."""
    pool = BufferPool(allocate=lambda shape, dtype: torch.empty(shape, dtype=torch.uint8).numpy())
    buffer = pool.take(SHAPE)
    at, seen = address(buffer), buffer[3:, :5]
    del buffer
    assert address(pool.take(SHAPE)) != at
    del seen
    assert pool.counts().outstanding == 0
    with pytest.raises(AssertionError, match="views of a view"):
        BufferPool(allocate=lambda shape, dtype: np.empty(1000, np.uint8)[: np.prod(shape)].reshape(shape)).take((3,))
