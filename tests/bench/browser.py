"""What a person at a browser waits for: from starting the server to the first picture, and for a further viewer."""

import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from stream.address import sample_clip
from tests.bench.rows import Row
from tests.browser.conftest import launch_chromium
from tests.server import Served, serve

ROUNDS = 5
TIMEOUT_MS = 120_000
FIRST_AND_OFFER_MS = """() => [
    livelens.firstFrameMs,
    performance.getEntriesByType("resource").find((entry) => entry.name.includes("/whep/")).startTime,
]"""


def measure(is_quick: bool) -> list[Row]:
    """Return both waits, as medians over rounds; the first start, which compiles, is a row of its own."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        first, *later = [_round(browser) for _ in range(2 if is_quick else ROUNDS + 1)]
        browser.close()
    start_s = statistics.median(start for start, _ in later)
    joins = [join for _, several in [first, *later] for join in several]
    further_ms, page_ms = [join[0] for join in joins], [join[1] for join in joins]
    further, page = statistics.median(further_ms), statistics.median(page_ms)
    spread = f"{min(s for s, _ in later):.1f} to {max(s for s, _ in later):.1f} s over {len(later)} starts"
    many = f"{min(further_ms):.0f} to {max(further_ms):.0f} ms over {len(further_ms)} joins; default picture running"
    what = "server start to first decoded picture, default picture"
    return [
        Row(what, round(start_s, 2), "s", "<= 6 s", start_s <= 6, note=spread),
        Row("the same, first start in this run", round(first[0], 2), "s", note="caches as they were found"),
        Row(
            "a further viewer: WHEP offer to first picture",
            round(further),
            "ms",
            "<= 500 ms",
            further <= 500,
            note=many,
        ),
        Row("the same from opening the page", round(page), "ms", note="the browser's own start of the page included"),
    ]


def _round(browser: Browser) -> tuple[float, list[tuple[float, float]]]:
    """Start the server, watch, join three more times.

    Returns seconds to the first picture, and for each join the ms to its first picture from the offer and
    from opening the page.
    """
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with serve(sample_clip().address, log_path=Path(folder) / "log") as served:
            page = _watch(browser, served)
            first_s = time.perf_counter() - started
            joins = []
            for _ in range(3):
                other = _watch(browser, served)
                first_ms, offer_ms = other.evaluate(FIRST_AND_OFFER_MS)
                joins.append((first_ms - offer_ms, first_ms))
                other.context.close()
            page.context.close()
            served.interrupt()
    return first_s, joins


def _watch(browser: Browser, served: Served) -> Page:
    page = browser.new_context(viewport={"width": 800, "height": 600}).new_page()
    page.goto(served.address)
    page.wait_for_function("() => livelens.firstFrameMs !== null && livelens.frames > 0", timeout=TIMEOUT_MS)
    return page
