"""A real headless Chromium for the tests in this folder. One that can't be had fails the test; it is never skipped."""

import shutil
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

# No request to anyone but the server under test, no GPU, host candidates with plain addresses instead of mDNS names.
CHROMIUM_ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker, so that --strict-markers accepts it."""
    config.addinivalue_line("markers", "browser: needs a real Chromium")


def launch_chromium(playwright: Playwright, extra_args: Sequence[str] = ()) -> Browser:
    """Start Chromium; `extra_args` are added to CHROMIUM_ARGS, such as a fake camera. Raises when there is none."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    # Without one on the PATH, playwright's own is tried; it says how to get it when it is missing too.
    return playwright.chromium.launch(executable_path=path, args=[*CHROMIUM_ARGS, *extra_args])


# Module scope: playwright's synchronous API keeps an event loop running in this thread, and asyncio tests in other
# modules must not find it there.
@pytest.fixture(scope="module")
def playwright_api() -> Iterator[Playwright]:
    """Playwright itself, for tests that launch their own Chromium."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(playwright_api: Playwright) -> Iterator[Browser]:
    """One Chromium for a test module; each test opens its own context in it."""
    browser = launch_chromium(playwright_api)
    yield browser
    browser.close()
