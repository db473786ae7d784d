"""Where streams go, where there are several devices."""

from hypothesis import given
from hypothesis import strategies as st

from stream.placement import load_of, place

DEVICES = ["cuda:0", "cuda:1", "cuda:2"]


def test_equal_streams_are_dealt_out_in_order() -> None:
    assert place(dict.fromkeys("abcd", 1.0), DEVICES) == {"a": "cuda:0", "b": "cuda:1", "c": "cuda:2", "d": "cuda:0"}


def test_a_heavy_stream_gets_a_device_of_its_own() -> None:
    placed = place({"a": 1, "b": 1, "heavy": 3, "c": 1}, DEVICES[:2])
    assert [name for name, device in placed.items() if device == placed["heavy"]] == ["heavy"]


def test_one_device_takes_all() -> None:
    assert set(place({"a": 1, "b": 2}, ["cpu"]).values()) == {"cpu"}


def test_work_grows_with_models_size_and_rate() -> None:
    one = load_of(1, 640 * 360, 30)
    assert 0 < load_of(0, 640 * 360, 30) < one < load_of(2, 640 * 360, 30)
    assert load_of(1, 640 * 360, 60) == 2 * one == load_of(1, 1280 * 360, 30)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.integers(1, 5))
def test_no_device_has_more_than_graham_allows(loads: list[float], count: int) -> None:
    devices = [f"cuda:{number}" for number in range(count)]
    placed = place({str(index): load for index, load in enumerate(loads)}, devices)
    assert list(placed) == [str(index) for index in range(len(loads))]
    given_ = [sum(load for index, load in enumerate(loads) if placed[str(index)] == device) for device in devices]
    least = max(sum(loads) / count, max(loads))  # what no placement can beat
    assert max(given_) <= (2 - 1 / count) * least + 1e-6
