"""How long to wait before a lost source is tried again."""

FIRST_S = 0.5
MOST_S = 30.0
JITTER = 0.2  # share of the delay, so that sources lost together do not come back together


def backoff_s(failures: int, chance: float, *, is_slow: bool = False) -> float:
    """Return the delay after so many failures in a row (1 or more); `chance` is random in 0..1.

    Doubles from 0.5 s up to 30 s, and up to a fifth is added or taken off. `is_slow` is for what a
    person must mend, a wrong password for example: never under 30 s, or the camera locks the account.
    """
    if is_slow:
        return MOST_S * (1 + JITTER * chance)
    delay_s = min(MOST_S, FIRST_S * 2.0 ** min(failures - 1, 16))
    return min(MOST_S, delay_s * (1 + JITTER * (2 * chance - 1)))
