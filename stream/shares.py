"""What each stream gets of a device that cannot give all of them what they ask for. Pure."""

from collections.abc import Mapping


def fair_shares(demands: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Return each stream's share of the device's time, 0..1, summing to 1: weighted max-min fairness.

    A stream that asks for less than its part gets what it asks for, and the others divide the rest by weight
    (Bertsekas and Gallager, Data Networks, section 6.5.2). What nobody asks for is divided by weight too, so
    that a stream may grow into it. `demands` in shares of the device's time; weights above 0.
    """
    left, shares = 1.0, dict.fromkeys(demands, 0.0)
    open_weight = sum(weights[name] for name in demands)
    for name in sorted(demands, key=lambda n: (demands[n] / weights[n], n)):
        shares[name] = min(demands[name], left * weights[name] / open_weight)
        left -= shares[name]
        open_weight -= weights[name]
    total = sum(weights[name] for name in demands)
    return {name: share + left * weights[name] / total for name, share in shares.items()}
