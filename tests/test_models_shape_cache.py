"""What is compiled for a shape is bounded, and the shapes in use stay."""

import pytest

from models.shape_cache import KEPT_AT_MOST, ShapeCache


def test_shape_is_made_once() -> None:
    made: list[object] = []
    cache = ShapeCache(lambda shapes: made.append(shapes) or len(made))
    assert [cache.get(((1, 2),)), cache.get(((1, 2),)), cache.get(((3,),))] == [1, 1, 2]


def test_shape_used_longest_ago_goes_first() -> None:
    cache = ShapeCache(lambda shapes: shapes, at_most=2)
    for side in (1, 2, 1, 3):
        cache.get(((side,),))
    assert cache.shapes() == [((1,),), ((3,),)]


def test_room_is_made_before_the_new_one_is() -> None:
    kept: list[int] = []
    cache: ShapeCache[int] = ShapeCache(lambda shapes: kept.append(len(cache.shapes())) or 0)
    for side in range(KEPT_AT_MOST + 3):
        cache.get(((side,),))
    assert max(kept) == KEPT_AT_MOST - 1


def test_failure_keeps_nothing() -> None:
    def fail(shapes: object) -> int:
        raise ValueError(shapes)

    cache = ShapeCache(fail)
    with pytest.raises(ValueError):
        cache.get(((1,),))
    assert cache.shapes() == []
