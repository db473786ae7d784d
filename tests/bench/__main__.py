"""`make bench`: measure, print, and store under tests/bench/results/.

python -m tests.bench [spine] [schedule] [browser] [models] [--quick]
"""

import argparse
from collections.abc import Callable

from tests.bench import browser, models, schedule, spine
from tests.bench.rows import Row, show, store

SUITES: dict[str, Callable[[bool], list[Row]]] = {
    "spine": spine.measure,
    "schedule": schedule.measure,
    "browser": browser.measure,
    "models": models.measure_models,
}


def main() -> None:
    """Run the suites asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure speed and memory.")
    parser.add_argument("suite", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all of them without")
    parser.add_argument("--quick", action="store_true", help="a first look; nothing is stored")
    arguments = parser.parse_args()
    if unknown := set(arguments.suite) - set(SUITES):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    for name in arguments.suite or SUITES:
        rows = SUITES[name](arguments.quick)
        show(name, rows)
        if not arguments.quick:
            store(name, rows, f"python -m tests.bench {name}")


if __name__ == "__main__":
    main()
