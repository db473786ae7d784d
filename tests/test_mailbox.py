import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.mailbox import Closed, Mailbox, Policy


@given(st.integers(1, 5), st.lists(st.sampled_from(["put", "get"]), max_size=60))
def test_newest_keeps_order_bound_and_count_for_any_sequence(bound: int, actions: list[str]) -> None:
    box: Mailbox[int] = Mailbox(bound)
    model: list[int] = []
    for value, action in enumerate(actions):
        if action == "put":
            expected = model.pop(0) if len(model) == bound else None
            assert box.put(value) == expected
            model.append(value)
        else:
            assert box.get_nowait() == (model.pop(0) if model else None)
        stats = box.stats()
        assert stats.depth == len(model) <= bound
        assert stats.put == stats.taken + stats.replaced + stats.depth


def test_wait_blocks_while_full_and_goes_on_when_there_is_room() -> None:
    box: Mailbox[int] = Mailbox(1, Policy.WAIT)
    box.put(1)
    with pytest.raises(TimeoutError, match="still full"):
        box.put(2, timeout_s=0.01)
    putter = threading.Thread(target=box.put, args=(2,))
    putter.start()
    assert box.get(timeout_s=5) == 1
    putter.join(5)
    assert box.get(timeout_s=5) == 2
    assert box.stats().replaced == 0


def test_closed_gives_what_is_inside_then_says_closed() -> None:
    box: Mailbox[str] = Mailbox()
    box.put("last")
    box.close()
    assert box.get() == "last"
    for read in (box.get, box.get_nowait):
        with pytest.raises(Closed):
            read()
    with pytest.raises(Closed):
        box.put("more")


def test_take_if_leaves_an_item_that_is_not_wanted() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(3)
    assert box.take_if(lambda item: item == 2) is None
    assert box.take_if(lambda item: item == 3) == 3
    assert box.take_if(lambda item: True) is None


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Mailbox(0)


def test_two_are_seen_in_order_without_being_taken() -> None:
    box: Mailbox[int] = Mailbox(2)
    assert box.peek_two() == (None, None)
    box.put(1)
    assert box.peek_two() == (1, None)
    box.put(2)
    assert box.peek_two() == (1, 2)
    assert box.stats().depth == 2
