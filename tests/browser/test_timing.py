"""What the page says of a frame, held against what the frame itself shows, and against the machine's own clocks."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.server import Served, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIRST_PICTURE_MS = 60_000
BITS, ROW_SHARE = 16, 24  # of stream/pattern.py

# For `count` painted pictures: [number read from the pixels, seq that was told for it]. Both are of one source.
READ_PICTURES = """([count, bits, share]) => new Promise((resolve) => {
    const [width, height] = [320, 180];
    const video = document.getElementById('video');
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    const grey = (x, y) => {
        const [red, green, blue] = context.getImageData(Math.round(x), Math.round(y), 1, 1).data;
        return red + green + blue;
    };
    const found = [];
    const painted = () => {
        context.drawImage(video, 0, 0, width, height);
        let [number, isClear] = [0, true];
        for (let place = 0; place < bits; place += 1) {
            const x = (place + 0.5) * width / bits;
            const [upper, lower] = [grey(x, 0.5 * height / share), grey(x, 1.5 * height / share)];
            isClear &&= Math.abs(upper - lower) > 200;
            number = number * 2 + (upper > lower ? 1 : 0);
        }
        const told = livelens.timing?.current;
        if (isClear && told) found.push([number, told.seq]);
        if (found.length >= count) resolve(found);
        else video.requestVideoFrameCallback(painted);
    };
    video.requestVideoFrameCallback(painted);
})"""


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve("test:320x180@30", "--no-models", "--name", "live", log_path=tmp_path / "log") as one:
        yield one


def watch(page: Page, served: Served) -> None:
    page.goto(served.address)
    page.wait_for_function("() => livelens.timing?.shownMs.length >= 30", timeout=FIRST_PICTURE_MS)


def test_what_is_told_of_a_picture_is_of_that_very_picture(page: Page, served: Served) -> None:
    watch(page, served)
    pairs = page.evaluate(READ_PICTURES, [60, BITS, ROW_SHARE])
    offsets = [number - seq for number, seq in pairs]
    assert len({number for number, _ in pairs}) >= 20, "the pictures move"
    # The pattern numbers its pictures from the source's start, the stream from its own: the same distance every time.
    common = max(set(offsets), key=offsets.count)
    assert offsets.count(common) >= 0.95 * len(offsets), offsets
    assert page.evaluate("livelens.timing.unknown") <= 5


def test_the_clock_exchange_agrees_with_the_machines_own_clocks(page: Page, served: Served) -> None:
    """Page and server run on one machine, so the true difference of their clocks can be read from the system."""
    watch(page, served)
    apart_ms = []
    for _ in range(9):
        before = time.time() * 1e3 - time.monotonic() * 1e3  # epoch minus the server's clock
        origin, offset = page.evaluate("[performance.timeOrigin, livelens.timing.clock.offsetMs]")
        apart_ms.append(abs((origin + 0 - before) - offset))
        time.sleep(0.2)
    assert sorted(apart_ms)[len(apart_ms) // 2] <= 8, apart_ms


def test_the_server_hears_when_pictures_were_shown_and_plans_with_it(page: Page, served: Served) -> None:
    watch(page, served)
    served.wait_until(lambda: "capture_to_shown" in served.stream()["latency_ms"], what="reports of the page")
    served.wait_until(lambda: served.stream()["downstream_ms"] > 0, what="a plan with them")
    latency = served.stream()["latency_ms"]
    assert latency["capture_to_shown"]["p50"] > latency["capture_to_send"]["p50"]
    assert "livelens_capture_to_shown_seconds_count" in served.get("/metrics")[1]
    page.wait_for_function("() => document.getElementById('tiles').textContent.includes('To the screen p95')")
    page.close()
    served.wait_until(lambda: served.stream()["downstream_ms"] == 0, 60, "no viewer, nothing taken off the budget")


def test_the_example_client_plays_and_tells(page: Page, served: Served) -> None:
    served.wait_until_ready()
    page.goto(f"{served.address}page/example.html#live")
    page.wait_for_function(
        "() => document.getElementById('told').textContent.startsWith('on screen')", timeout=FIRST_PICTURE_MS
    )
    assert "captured_ms" in page.locator("#told").text_content()
