"""Which stream goes to which device, where there are several. Pure."""

from collections.abc import Mapping, Sequence


def place(loads: Mapping[str, float], devices: Sequence[str]) -> dict[str, str]:
    """Return a device for each stream, so that the most loaded device has little: the heaviest goes first, each to the
    device with the least so far (longest processing time first, Graham 1969: at most 4/3 of the best possible).

    `loads` is any measure of work by stream, >= 0. Equal ones keep their order; so do devices, the first come first.
    """
    assert devices
    order = {name: index for index, name in enumerate(devices)}
    given = dict.fromkeys(devices, 0.0)
    placed: dict[str, str] = {}
    for stream in sorted(loads, key=lambda name: -loads[name]):
        device = min(given, key=lambda name: (given[name], order[name]))
        placed[stream] = device
        given[device] += loads[stream]
    return {stream: placed[stream] for stream in loads}


def load_of(models: int, pixels: int, fps: float) -> float:
    """Return how much work a stream is likely to be, in megapixels times models a second: all that is known at first.

    One without models still costs its share of launching and copying.
    """
    return (models + 0.1) * pixels * fps / 1e6
