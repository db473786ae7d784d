"""Make the pictures of README: `python -m tests.screenshot`. Starts the default picture and takes the page as it is."""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from stream.address import sample_clip
from tests.browser.conftest import launch_chromium
from tests.server import ROOT, Served, serve

SIZES = {"page.png": (1280, 800), "page-phone.png": (390, 844)}
SETTLE_MS = 14_000  # long enough for the chart to say something


def main() -> None:
    """Write docs/page.png and docs/page-phone.png."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = launch_chromium(playwright)
        with serve(sample_clip().address, log_path=Path(folder) / "log") as served:
            served.wait_until_ready()
            for name, size in SIZES.items():
                take(browser, served, size, ROOT / "docs" / name)
        browser.close()


def take(browser: Browser, served: Served, size: tuple[int, int], path: Path) -> None:
    """Open the page at `size`, let it play, and save what a person sees."""
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.goto(served.address)
    page.wait_for_function("() => livelens.frames > 20", timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=path)
    page.context.close()


if __name__ == "__main__":
    main()
