"""A browser's own camera, screen or file: through WHIP to the server, and back by WHEP to the same page."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from stream.pattern import Pattern, read_bars
from tests.browser.conftest import launch_chromium
from tests.browser.test_watch import SNAPSHOT
from tests.server import Served, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZE = (320, 240)
SOON_MS = 60_000  # for a person this is long; for a busy test machine it is not
FRAMES = 64


def write_y4m(path: Path) -> None:
    """Write pictures numbered 1, 2, ... as the file that Chromium's fake camera shows."""
    import cv2

    width, height = SIZE
    pattern = Pattern(width, height)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(1, FRAMES + 1):
            file.write(b"FRAME\n")
            file.write(cv2.cvtColor(pattern.draw(number, number / 30), cv2.COLOR_RGB2YUV_I420).tobytes())


@pytest.fixture(scope="module")
def with_camera(playwright_api: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium with a camera that shows numbered pictures."""
    clip = tmp_path_factory.mktemp("camera") / "camera.y4m"
    write_y4m(clip)
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    browser = launch_chromium(playwright_api, (*fake, f"--use-file-for-fake-video-capture={clip}"))
    yield browser
    browser.close()


@pytest.fixture
def page(with_camera: Browser) -> Iterator[Page]:
    context = with_camera.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve("browser", "--name", "cam", "--no-models", log_path=tmp_path / "log") as one:
        yield one


def wait_until_back(page: Page, frames: int = 5) -> None:
    """Wait until pictures come back to the page."""
    before = page.evaluate("livelens.frames")
    page.wait_for_function(f"() => livelens.frames >= {before + frames}", timeout=SOON_MS)


def number_on_screen(page: Page) -> int | None:
    width, height = SIZE
    rgb = page.evaluate(SNAPSHOT, list(SIZE))
    return read_bars(np.array(rgb, np.uint8).reshape(height, width, 3))


def share(page: Page, served: Served) -> None:
    page.goto(served.address)
    expect(page.locator("#overlay-title")).to_have_text("Waiting for a sender", timeout=SOON_MS)
    page.locator("#overlay-action").click()
    page.wait_for_function("() => livelens.sharing === 'sending'", timeout=SOON_MS)


def test_the_own_camera_goes_to_the_server_and_comes_back(page: Page, served: Served) -> None:
    share(page, served)
    wait_until_back(page, 10)
    numbers = {number_on_screen(page) for _ in range(20)}
    assert numbers - {None}, "a numbered picture of the camera"
    assert all(number is None or 1 <= number <= FRAMES for number in numbers)
    expect(page.locator("#share-words")).to_contain_text("Sending your camera to “cam”")
    assert served.stream("cam")["source"]["kind"] == "browser"
    page.locator("#share-stop").click()
    expect(page.locator("#overlay-title")).to_have_text("Waiting for a sender", timeout=SOON_MS)
    expect(page.locator("#share-camera")).to_be_visible()
    served.wait_until(lambda: served.stream("cam")["source"]["state"] == "waiting", what="waiting again")


def test_sharing_again_shows_pictures_again(page: Page, served: Served) -> None:
    share(page, served)
    wait_until_back(page)
    page.locator("#share-stop").click()
    expect(page.locator("#overlay-title")).to_have_text("Waiting for a sender", timeout=SOON_MS)
    page.locator("#share-camera").click()
    wait_until_back(page)


def test_a_reloaded_page_takes_over_from_itself(page: Page, served: Served) -> None:
    share(page, served)
    wait_until_back(page)
    page.reload()
    page.locator("#share-camera").click()
    page.wait_for_function("() => livelens.sharing === 'sending'", timeout=SOON_MS)
    wait_until_back(page)


def test_a_file_of_ones_own_is_sent(page: Page, served: Served, tmp_path: Path) -> None:
    clip = tmp_path / "clip.webm"
    source = f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r=30:d=2"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libvpx", clip], check=True)
    page.goto(served.address)
    page.locator("#share-file").set_input_files(clip)
    wait_until_back(page)
    expect(page.locator("#share-words")).to_contain_text("Sending the file")


def test_a_file_that_is_no_video_is_told(page: Page, served: Served, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video")
    page.goto(served.address)
    page.locator("#share-file").set_input_files(notes)
    expect(page.locator("#share-note")).to_contain_text("cannot play notes.mp4", timeout=SOON_MS)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("NotAllowedError", "was not allowed to use the camera"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "in use by another program"),
    ],
)
def test_a_camera_that_cannot_be_had_says_what_to_do(page: Page, served: Served, error: str, says: str) -> None:
    page.add_init_script(
        f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{error}') }}"
    )
    page.goto(served.address)
    page.locator("#share-camera").click()
    expect(page.locator("#share-note")).to_contain_text(says)
    expect(page.locator("#share-camera")).to_be_visible()


def test_an_address_where_browsers_hide_the_camera_says_so(page: Page, served: Served) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    page.goto(served.address)
    page.locator("#share-camera").click()
    expect(page.locator("#share-note")).to_contain_text("only at https:// or localhost")


def test_a_stream_with_a_source_of_its_own_has_no_buttons_to_send(page: Page, tmp_path: Path) -> None:
    with serve("test:320x180", "--no-models", log_path=tmp_path / "log") as served:
        page.goto(served.address)
        wait_until_back(page)
        expect(page.locator("#share")).to_be_hidden()
