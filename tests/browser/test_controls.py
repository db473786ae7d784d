"""What a person changes on the page while a stream plays, in a real Chromium against the stub server."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import PHONE, SOON_MS, Tab, open_tab  # noqa: F401  # open_tab is a fixture
from tests.page_stub import PageStub

pytestmark = pytest.mark.browser
Open = Callable[..., Tab]


@pytest.fixture
def stub() -> Iterator[PageStub]:
    server = PageStub("changeable").start()
    yield server
    server.stop()


def test_a_prompt_is_sent_with_enter_and_shows_what_the_server_took(stub: PageStub, open_tab: Open) -> None:  # noqa: F811
    tab = open_tab()
    tab.page.goto(stub.url)
    prompt = tab.page.get_by_label("prompt of diffusion")
    expect(prompt).to_have_value("a town in winter, oil", timeout=SOON_MS)
    prompt.fill("a <b>bold</b> harbour, at dusk")
    tab.page.wait_for_timeout(2500)  # polls go on, and must leave what is typed alone
    expect(prompt).to_have_value("a <b>bold</b> harbour, at dusk")
    assert stub.changes == []
    prompt.press("Enter")
    tab.page.wait_for_function("() => !document.querySelector('.is-sending')", timeout=SOON_MS)
    assert stub.changes == [("live", "diffusion", {"prompt": "a <b>bold</b> harbour, at dusk"}, None)]
    expect(prompt).to_have_value("a <b>bold</b> harbour, at dusk")
    assert tab.complaints == []


def test_a_slider_is_sent_once_it_is_let_go(stub: PageStub, open_tab: Open) -> None:  # noqa: F811
    tab = open_tab()
    tab.page.goto(stub.url)
    slider = tab.page.get_by_label("strength of style")
    expect(slider).to_have_value("1", timeout=SOON_MS)
    slider.focus()
    for _ in range(5):
        slider.press("ArrowLeft")
    expect(slider).to_have_value("0.95")
    tab.page.wait_for_timeout(1500)
    assert [body for _, stage, body, _ in stub.changes if stage == "style"][-1] == {"strength": "0.95"}
    expect(slider).to_have_value("0.95")
    assert tab.complaints == []


def test_a_refused_value_is_told_in_the_servers_words_and_stays_to_be_mended(stub: PageStub, open_tab: Open) -> None:  # noqa: F811
    stub.change_refusal = "style: option blend='99' is not allowed: expected such as 2:0.3+12:0.7, styles 0..25"
    tab = open_tab()
    tab.page.goto(stub.url)
    blend = tab.page.get_by_label("blend of style")
    blend.fill("99")
    tab.page.locator("form", has=blend).get_by_role("button", name="Apply").click()
    expect(tab.page.get_by_text(stub.change_refusal)).to_be_visible(timeout=SOON_MS)
    expect(blend).to_have_value("99")
    slider = tab.page.get_by_label("strength of diffusion")
    slider.press("ArrowRight")
    expect(slider).to_have_value("0.5", timeout=SOON_MS)  # back to what is so


def test_another_persons_change_arrives_with_the_next_status(stub: PageStub, open_tab: Open) -> None:  # noqa: F811
    tab = open_tab()
    tab.page.goto(stub.url)
    slider = tab.page.get_by_label("strength of diffusion")
    expect(slider).to_have_value("0.5", timeout=SOON_MS)
    stub.changes.append(("live", "diffusion", {"strength": "0.9"}, None))
    expect(slider).to_have_value("0.9", timeout=SOON_MS)


def test_controls_fit_a_phone_and_have_room_for_a_finger(stub: PageStub, open_tab: Open) -> None:  # noqa: F811
    tab = open_tab(viewport=PHONE)
    tab.page.goto(stub.url)
    expect(tab.page.get_by_label("prompt of diffusion")).to_be_visible(timeout=SOON_MS)
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    heights = tab.page.locator(".control input, .control-apply").evaluate_all(
        "nodes => nodes.map((node) => node.getBoundingClientRect().height)"
    )
    assert len(heights) == 7
    assert min(heights) >= 40


def test_a_model_without_live_options_has_no_controls(stub: PageStub, open_tab: Open) -> None:  # noqa: F811
    stub.scenario = "normal"
    tab = open_tab()
    tab.page.goto(stub.url)
    expect(tab.page.locator(".stage-row")).to_have_count(2, timeout=SOON_MS)
    expect(tab.page.locator(".controls:visible")).to_have_count(0)
