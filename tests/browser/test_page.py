"""The web page in a real Chromium, against the stub server."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page_stub import HOSTILE_NAME, PageStub

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
SOON_MS = 15_000  # for a person this is long; for a busy test machine it is not
WEBRTC_GONE = "delete window.RTCPeerConnection"
AUTOPLAY_BLOCKED = """
    document.addEventListener("DOMContentLoaded", () => document.getElementById("video").removeAttribute("autoplay"));
    let isTapped = false; // navigator.userActivation would not do: playwright's own calls count as a tap there
    document.addEventListener("click", () => { isTapped = true; }, true);
    const play = HTMLMediaElement.prototype.play;
    HTMLMediaElement.prototype.play = function () {
      if (isTapped) return play.call(this);
      return Promise.reject(new DOMException("a tap is needed", "NotAllowedError"));
    };
"""


@pytest.fixture
def stub() -> Iterator[PageStub]:
    """A running stub server with one healthy stream."""
    server = PageStub().start()
    yield server
    server.stop()


class Tab:
    """A page in a context of its own, with what it complained about."""

    def __init__(self, browser: Browser, **context: object) -> None:
        self.context = browser.new_context(**context)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []  # console errors and warnings, exceptions, dialogs
        self.page.on("console", lambda line: line.type in ("error", "warning") and self.complaints.append(line.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))


@pytest.fixture
def open_tab(chromium: Browser) -> Iterator[Callable[..., Tab]]:
    """A function that opens a tab; keywords are the browser context's."""
    tabs: list[Tab] = []

    def open_one(**context: object) -> Tab:
        tabs.append(Tab(chromium, **context))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.context.close()


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    """A tab of a desktop's size."""
    return open_tab(viewport={"width": 1440, "height": 900})


def wait_until_playing(page: Page, frames: int = 5, stream: str | None = None) -> None:
    """Wait until `frames` more pictures are decoded and nothing lies over the video."""
    before = page.evaluate("livelens.frames")
    page.wait_for_function(
        "([frames, stream]) => livelens.state === 'playing' && livelens.frames >= frames"
        " && (stream === null || livelens.stream === stream) && document.getElementById('overlay').hidden",
        arg=[before + frames, stream],
        timeout=SOON_MS,
    )


def overlay(page: Page) -> object:
    """Return expectations about what lies over the video."""
    return expect(page.locator("#overlay"))


def fits_width(page: Page) -> bool:
    """True when the page does not scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# --- playing and numbers ---


def test_one_stream_plays_at_once_muted_without_complaints(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page, frames=20)
    seen = tab.page.evaluate(
        "({...livelens, isMuted: video.muted, width: video.videoWidth, seconds: video.currentTime})"
    )
    assert (seen["stream"], seen["connection"], seen["server"]) == ("sample", "connected", "up")
    assert seen["firstFrameMs"] > 0
    assert seen["isMuted"] and seen["width"] == 640 and seen["seconds"] > 0
    expect(tab.page.locator("#streams-nav")).to_be_hidden()
    expect(tab.page.locator("#live-chip")).to_be_visible()
    assert tab.complaints == []


def test_fps_in_the_browser_is_what_is_sent(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page, frames=90)
    assert 20 <= tab.page.evaluate("livelens.fps") <= 40  # the stub sends 30; a shared machine may stutter


def test_what_came_before_the_models_were_warm_is_blamed_on_nobody(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    held = tab.page.evaluate(
        """async () => {
          const { showAccount } = await import("/page/panel.js");
          const drops = { warming: 40, superseded: 5 };
          const frames = { captured: 100, shown: 55, on_time: 55, late: 0, in_flight: 0, dropped: drops };
          showAccount({ frames, causes: { model: 45, encode: 2 } }, { rateOf: () => 0 });
          return document.getElementById("causes").innerText;
        }"""
    )
    assert held.split() == ["models", "take", "too", "long", "5", "drawing", "or", "encoding", "is", "slow", "2"]


def test_panel_shows_numbers_drops_and_stages(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "overloaded"
    tab.page.goto(stub.url)
    tiles = tab.page.locator("#tiles")
    for text in ("On time", "Latency p95", "Shown", "of 30.0 captured"):
        expect(tiles).to_contain_text(text)
    drops = tab.page.locator("#drops")
    for text in ("replaced by a newer frame", "could not finish in time", "models were warming up", "lens_cap_on"):
        expect(drops).to_contain_text(text)
    stages = tab.page.locator("#stages")
    for text in (
        "openvino bf16",
        "94 ms",
        "8.6",
        "reused (≤ 200 ms old)",
        "Last error: boxes: output",
    ):
        expect(stages).to_contain_text(text)
    expect(tab.page.locator("#server")).to_contain_text("OpenVINO")
    expect(tab.page).to_have_title("sample · Livelens")


def test_budget_bar_shows_the_step_that_eats_the_time(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "overloaded"
    tab.page.goto(stub.url)
    expect(tab.page.locator("#verdict")).to_contain_text("over the budget; most of it: models")
    expect(tab.page.locator(".step-slowest")).to_contain_text("Models")
    tab.page.wait_for_timeout(600)  # the bar glides to its widths
    widths = tab.page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.bar-step')].map(n => [n.dataset.step, n.offsetWidth]))"
    )
    assert max(widths, key=widths.get) == "models"
    assert widths["models"] > 1.3 * widths["wait"] > 5 * widths["encode"]
    bar, mark = tab.page.locator("#bar").bounding_box(), tab.page.locator("#bar-budget").bounding_box()
    p95 = tab.page.locator("#bar-p95").bounding_box()
    assert bar["x"] < mark["x"] < p95["x"] < bar["x"] + bar["width"]


def test_hand_over_to_the_encoder_is_a_step_between_models_and_compose(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    expect(tab.page.locator("#steps .step-words")).to_have_text(
        ["Decode", "Queue", "Wait", "Models", "To encoder", "Compose", "Encode", "Send"]
    )
    colors = tab.page.evaluate(
        "[...document.querySelectorAll('.bar-step')].map(n => getComputedStyle(n).backgroundColor)"
    )
    assert len(set(colors)) == 8


def test_chart_draws_the_history(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    tab.page.wait_for_timeout(3500)
    inked = tab.page.evaluate("""() => {
        const color = getComputedStyle(chart).getPropertyValue('--fps').trim();
        const [r, g, b] = [1, 3, 5].map(i => parseInt(color.slice(i, i + 2), 16));
        const {data} = chart.getContext('2d').getImageData(0, 0, chart.width, chart.height);
        let count = 0;
        for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i + 1] === g && data[i + 2] === b) count++;
        return count;
    }""")
    assert inked > 8  # the line of shown fps
    label = tab.page.locator("#chart").get_attribute("aria-label")
    assert "latency p50" in label and "fps shown" in label


def test_leaving_the_page_ends_the_session(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    tab.page.goto("about:blank")
    tab.page.wait_for_timeout(1000)
    assert stub.ended == ["1"]
    assert stub.peers == {}


def test_status_requests_never_overlap(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    stub.is_hung = True
    tab.page.wait_for_timeout(2500)
    for _ in range(3):
        tab.page.evaluate("window.dispatchEvent(new Event('online'))")
    stub.is_hung = False
    tab.page.wait_for_timeout(1500)
    assert stub.most_asking == 1


# --- ladders and causes ---


def test_ladder_shows_its_steps_and_the_one_in_use(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "stepped-down"
    tab.page.goto(stub.url)
    style, boxes = (tab.page.get_by_role("list", name=f"Variants of {name}") for name in ("style", "boxes"))
    expect(style.locator(".rung-words")).to_have_text(["full", "75 % size", "half size"])
    expect(style.locator(".rung-cost")).to_have_text(["23 ms", "15 ms", "6.9 ms"])
    expect(style.locator(".rung-quality")).to_have_text(["quality 100 %", "quality 61 %", "quality 53 %"])
    expect(style.locator("[aria-current=step]")).to_have_text("75 % size15 msquality 61 %")
    expect(boxes.locator("[aria-current=step] .rung-words")).to_have_text("full")
    expect(boxes.locator(".rung").last).to_have_text("320 pxgetting readyquality 89 %")
    expect(tab.page.locator("#stages-note")).to_have_text("quality stays at 50 % or more")
    fills = style.locator(".rung-fill").evaluate_all(
        "fills => fills.map(n => n.offsetWidth / n.parentNode.offsetWidth)"
    )
    assert fills == pytest.approx([1, 0.61, 0.53], abs=0.02)


def test_the_mark_moves_with_the_variant(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    used = tab.page.locator("#stages [aria-current=step] .rung-words")
    expect(used).to_have_text(["full", "full"])
    expect(tab.page.locator("#stages-note")).to_be_empty()
    stub.scenario = "stepped-down"
    expect(used).to_have_text(["75 % size", "full"])
    stub.scenario = "overloaded"
    expect(used).to_have_text(["half size", "full"])


def test_a_stage_that_is_checked_says_how_like_the_reference_it_is(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    expect(tab.page.locator("#stages .fact-words").first).to_have_text("inferences/s")
    expect(tab.page.get_by_text("like the reference")).to_have_count(0)
    stub.scenario = "checked"
    facts = tab.page.locator("#stages .fact", has_text="like the reference")
    expect(facts).to_have_text(["51.2 dBlike the reference, 4 checked", "50.0 %like the reference, 3 checked"])
    expect(facts.last).to_have_class("fact tone-bad")


def test_changes_of_variant_are_told_with_their_reasons(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    expect(tab.page.locator("#changes")).to_contain_text("None yet")
    stub.scenario = "overloaded"
    changes = tab.page.locator("#changes-list .change")
    expect(changes).to_have_count(20)
    expect(changes.first).to_contain_text("s ago")
    expect(changes.first).to_contain_text("↓style to half size: it takes 61 ms, and there are 33 for a frame")
    expect(changes.nth(1)).to_contain_text("↓boxes to 320 px: it takes 42 ms, and the budget leaves 12")
    expect(changes.nth(2)).to_contain_text("min ago↑style to full: there is room: 24 of 33 ms")
    expect(tab.page.locator("#changes-count")).to_have_text("41 in all")
    expect(tab.page.locator("#changes-none")).to_be_hidden()


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, PHONE], ids=["desktop", "phone"])
def test_page_does_not_jump_when_variants_change(
    open_tab: Callable[..., Tab], stub: PageStub, viewport: dict[str, int]
) -> None:
    page = open_tab(viewport=viewport).page
    page.goto(stub.url)
    changes = page.locator("#changes-list .change")
    tops = []
    for scenario, count in (("normal", 0), ("stepped-down", 3), ("stepped-down", 4), ("normal", 0)):
        stub.scenario = scenario
        expect(changes).to_have_count(count, timeout=SOON_MS)
        ids = ["budget", "stages-card", "changes", "panel", "browser-title"]
        tops.append(page.evaluate("ids => ids.map(id => document.getElementById(id).offsetTop)", ids))
        tops[-1].append(page.evaluate("document.documentElement.scrollHeight"))
    assert tops == [tops[0]] * 4


def test_what_held_frames_up_is_told_in_plain_words(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "overloaded"
    tab.page.goto(stub.url)
    expect(tab.page.locator("#causes-title")).to_be_visible()
    rows = tab.page.locator("#causes .row-words")
    expect(rows.first).to_have_text("models take too long")
    for words in (
        "they wait for their turn",
        "drawing or encoding is slow",
        "the source sends in bursts",
        "the network is slow",
        "decoding is slow",
        "a viewer takes its packets too slowly",
        "full_moon",
    ):
        expect(rows.filter(has_text=words)).to_have_count(1)
    expect(tab.page.locator("#causes .row").first).to_contain_text("/s", timeout=SOON_MS)  # how fast it grows now


def test_a_refused_stream_says_why_and_what_to_do(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "refused"
    tab.page.goto(stub.url)
    overlay(tab.page).to_contain_text("This machine cannot show the stream in time")
    overlay(tab.page).to_contain_text(
        "At its lightest a frame takes 212 ms, and the budget is 150 ms; give --budget 290"
    )
    expect(tab.page.locator("#stream-state")).to_have_text("Refused")
    tab.page.wait_for_timeout(1500)
    assert stub.offers == [] and tab.complaints == []
    heights = tab.page.locator("#overlay-detail .unbroken").evaluate_all("parts => parts.map(n => n.offsetHeight)")
    assert len(heights) == 3 and len(set(heights)) == 1  # no option is broken in two lines


def test_server_without_ladders_and_causes_breaks_nothing(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "older"
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    expect(tab.page.locator("#stages")).to_contain_text("predicted")
    expect(tab.page.locator("#steps .step")).to_have_count(7)
    for place in (".rungs >> visible=true", "#changes >> visible=true", "#causes-title >> visible=true"):
        expect(tab.page.locator(place)).to_have_count(0)
    assert tab.complaints == []


def test_variants_and_times_in_words(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    variants = ["b", "b, scale=0.5", "b, scale=0.75", "b, size=320", "b, size=small,grain=0", "scale=0.33", "odd"]
    assert tab.page.evaluate(
        """async variants => {
            const { variantWords } = await import('/page/texts.js');
            return variants.map(variant => variantWords(variant, [{ variant: 'b' }]));
        }""",
        variants,
    ) == ["full", "half size", "75 % size", "320 px", "size=small,grain=0", "33 % size", "odd"]
    assert tab.page.evaluate(
        "import('/page/texts.js').then(m => [0.4, 1, 59.9, 60, 3599, 3600, 90000, undefined].map(m.agoWords))"
    ) == ["now", "1 s ago", "59 s ago", "1 min ago", "59 min ago", "1 h ago", "25 h ago", ""]


# --- several streams ---


def test_several_streams_are_reached_by_keyboard(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "three"
    tab.page.goto(stub.url)
    wait_until_playing(tab.page, stream="sample")
    expect(tab.page.locator("#streams .stream")).to_have_count(3)
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Tab")
    focused = tab.page.evaluate(
        "({text: document.activeElement.textContent, outline: getComputedStyle(document.activeElement).outlineStyle})"
    )
    assert "hall" in focused["text"] and focused["outline"] == "solid"
    tab.page.wait_for_timeout(1500)  # the list is refreshed meanwhile and must keep the focus
    tab.page.keyboard.press("Enter")
    wait_until_playing(tab.page, stream="hall")
    assert tab.page.url.endswith("#hall")
    assert stub.offers == ["sample", "hall"] and stub.ended == ["1"]
    expect(tab.page.locator("#streams a[aria-current]")).to_contain_text("hall")


def test_name_in_the_address_selects(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "three"
    tab.page.goto(f"{stub.url}#hall")
    wait_until_playing(tab.page, stream="hall")
    assert stub.offers == ["hall"]
    tab.page.get_by_role("link", name="door").click()
    overlay(tab.page).to_contain_text("Retrying rtsp://10.0.0.7:554/door")
    tab.page.go_back()
    wait_until_playing(tab.page, stream="hall")


def test_unknown_name_says_so_and_offers_the_others(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(f"{stub.url}#gone%20one")
    overlay(tab.page).to_contain_text("There is no stream “gone one”")
    tab.page.get_by_role("link", name="sample").click()
    wait_until_playing(tab.page, stream="sample")


# --- failures, each with its words ---


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("retrying", ["Retrying camera:0", "The camera was unplugged", "plug it in"]),
        ("waiting", ["Waiting for a sender", "Nothing is sent to “phone” yet"]),
        ("finished", ["The recording has ended"]),
        ("warming", ["Models are warming up"]),
        ("broken", ["The models could not be started", "boxes/coco needs openvino"]),
        ("none", ["No streams yet", "Start it with a source"]),
    ],
)
def test_without_pictures_the_page_says_why(tab: Tab, stub: PageStub, scenario: str, words: list[str]) -> None:
    stub.scenario = scenario
    tab.page.goto(stub.url)
    for text in words:
        overlay(tab.page).to_contain_text(text)
    expect(tab.page.locator("#live-chip")).to_be_hidden()
    assert stub.offers == []  # asking for a session now could only fail
    assert tab.complaints == []


def test_plays_by_itself_when_models_are_warm(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "warming"
    tab.page.goto(stub.url)
    overlay(tab.page).to_contain_text("Models are warming up")
    stub.scenario = "normal"
    wait_until_playing(tab.page)


def test_source_lost_while_playing_is_told_over_the_video(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    stub.scenario = "lost"
    overlay(tab.page).to_contain_text("Retrying camera:0")
    assert tab.page.evaluate("livelens.connection") == "connected"  # the viewer stays; only the source is away
    stub.scenario = "normal"
    wait_until_playing(tab.page)
    assert len(stub.offers) == 1
    assert tab.complaints == []


def test_server_restart_is_told_and_the_picture_comes_back(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    stub.stop()
    overlay(tab.page).to_contain_text("Connection to the server lost", timeout=SOON_MS)
    overlay(tab.page).to_contain_text("Next try in")
    expect(tab.page.locator("#server")).to_contain_text("Server not answering")
    stub.start()
    wait_until_playing(tab.page)
    assert len(stub.offers) == 2
    expect(tab.page.locator("#server")).to_contain_text("OpenVINO")


def test_try_now_does_not_wait_for_the_countdown(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    stub.stop()
    tab.page.wait_for_function("() => /Next try in [5-9] s/.test(document.getElementById('overlay-clock').textContent)")
    stub.start()
    tab.page.get_by_role("button", name="Try now").click()
    tab.page.wait_for_function("() => livelens.server === 'up'", timeout=3000)
    wait_until_playing(tab.page)


def test_hung_server_is_told(tab: Tab, stub: PageStub) -> None:
    stub.is_hung = True
    tab.page.goto(stub.url)
    overlay(tab.page).to_contain_text("takes too long to answer", timeout=SOON_MS)
    stub.is_hung = False
    wait_until_playing(tab.page)


def test_lost_media_path_opens_a_new_session(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    stub.drop_peers()
    tab.page.wait_for_function("() => livelens.state !== 'playing'", timeout=SOON_MS)
    wait_until_playing(tab.page)
    assert len(stub.offers) == 2
    expect(tab.page.locator("#stream-name")).to_have_text("sample")


def test_frozen_picture_is_told_and_replaced(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    stub.is_frozen = True
    overlay(tab.page).to_contain_text("No new picture for 2 s", timeout=SOON_MS)
    overlay(tab.page).to_contain_text("opening a new one", timeout=SOON_MS)
    stub.is_frozen = False
    wait_until_playing(tab.page)
    assert len(stub.offers) >= 2


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((409, "nothing is live on sample"), ["Nothing to play yet", "Nothing is live on sample"]),
        ((503, "8 of 8 sessions are in use"), ["not ready for one more viewer", "8 of 8 sessions are in use"]),
        ((404, "no stream sample"), ["does not know this stream"]),
        ((406, "the offer has no codec in common"), ["refused to play", "The offer has no codec in common"]),
    ],
)
def test_refusal_is_told_in_the_servers_words_and_tried_again(
    tab: Tab, stub: PageStub, refusal: tuple[int, str], words: list[str]
) -> None:
    stub.refusal = refusal
    tab.page.goto(stub.url)
    for text in words:
        overlay(tab.page).to_contain_text(text)
    overlay(tab.page).to_contain_text("Next try in")
    stub.refusal = None
    wait_until_playing(tab.page)


def test_blocked_media_is_told(tab: Tab, stub: PageStub) -> None:
    stub.is_deaf = True
    tab.page.goto(stub.url)
    overlay(tab.page).to_contain_text("The video cannot get through", timeout=25_000)
    overlay(tab.page).to_contain_text("firewall")
    stub.is_deaf = False
    wait_until_playing(tab.page)


def test_blocked_autoplay_asks_for_a_tap(tab: Tab, stub: PageStub) -> None:
    tab.page.add_init_script(AUTOPLAY_BLOCKED)
    tab.page.goto(stub.url)
    overlay(tab.page).to_contain_text("Ready to play")
    tab.page.get_by_role("button", name="Play", exact=True).click()
    wait_until_playing(tab.page)
    assert len(stub.offers) == 1


def test_browser_without_webrtc_is_told(tab: Tab, stub: PageStub) -> None:
    tab.page.add_init_script(WEBRTC_GONE)
    tab.page.goto(stub.url)
    overlay(tab.page).to_contain_text("This browser cannot play WebRTC video")
    expect(tab.page.locator("#tiles")).to_contain_text("On time")  # the numbers are worth having all the same
    assert tab.complaints == []


def test_token_is_asked_for_and_used(tab: Tab, stub: PageStub) -> None:
    stub.token = "open sesame"
    tab.page.goto(stub.url)
    overlay(tab.page).to_contain_text("asks for an access token")
    tab.page.get_by_label("Access token").fill("open sesame")
    tab.page.keyboard.press("Enter")
    wait_until_playing(tab.page)
    assert "sesame" not in tab.page.url


# --- strangers' words, layout, access ---


def test_hostile_names_are_shown_as_text(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "hostile"
    tab.page.goto(stub.url)
    wait_until_playing(tab.page, stream=HOSTILE_NAME)
    expect(tab.page.locator("#stream-name")).to_have_text(HOSTILE_NAME)
    expect(tab.page.locator("#stages")).to_contain_text("<svg onload=alert(3)>")
    expect(tab.page.locator("#drops")).to_contain_text("constructor")
    expect(tab.page.locator("#causes")).to_contain_text("constructor")
    expect(tab.page.locator(".rungs").first).to_contain_text("<b>w</b>")
    expect(tab.page.locator("#changes-list")).to_contain_text("<img src=x onerror=alert(4)>")
    assert stub.offers == [HOSTILE_NAME]
    tab.page.locator("#streams a").first.click()  # through the address and back
    tab.page.wait_for_timeout(1500)
    assert tab.page.evaluate("livelens.stream") == HOSTILE_NAME
    assert tab.page.locator("main img, main script, main b, main i, main u").count() == 0
    assert tab.complaints == []


@pytest.mark.parametrize("scenario", ["overloaded", "stepped-down", "refused", "three", "hostile", "retrying", "none"])
def test_phone_does_not_scroll_sideways(open_tab: Callable[..., Tab], stub: PageStub, scenario: str) -> None:
    stub.scenario = scenario
    page = open_tab(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2).page
    page.goto(stub.url)
    page.wait_for_function("() => livelens.server === 'up'")
    page.wait_for_timeout(1500)
    assert fits_width(page)
    card = page.locator(".overlay-card")
    if card.is_visible():
        assert card.bounding_box()["width"] <= PHONE["width"]


@pytest.mark.parametrize("width", [320, 700, 1021, 1920])
def test_other_widths_do_not_scroll_sideways(open_tab: Callable[..., Tab], stub: PageStub, width: int) -> None:
    stub.scenario = "three"
    page = open_tab(viewport={"width": width, "height": 800}).page
    page.goto(stub.url)
    page.wait_for_function("() => livelens.server === 'up'")
    assert fits_width(page)


def test_on_a_phone_what_is_wrong_stands_below_the_video(open_tab: Callable[..., Tab], stub: PageStub) -> None:
    page = open_tab(viewport=PHONE).page
    page.goto(stub.url)
    wait_until_playing(page)
    top = page.locator("#video").bounding_box()["y"]
    stub.scenario = "overloaded"
    expect(page.locator("#stream-trouble")).to_be_visible()
    assert page.locator("#video").bounding_box()["y"] == top
    assert page.locator("#stream-trouble").bounding_box()["y"] > page.locator("#stream-name").bounding_box()["y"] > top


def test_every_control_and_picture_has_a_name(tab: Tab, stub: PageStub) -> None:
    stub.scenario = "three"
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    nameless = tab.page.evaluate("""() => [...document.querySelectorAll('button, a, input, [role=img], video')]
        .filter(n => n.offsetParent && !(n.getAttribute('aria-label') || n.textContent.trim() || n.labels?.length))
        .map(n => n.outerHTML)""")
    assert nameless == []


def test_dark_and_light_follow_the_system(open_tab: Callable[..., Tab], stub: PageStub) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        page = open_tab(color_scheme=scheme).page
        page.goto(stub.url)
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert min(grounds["light"]) > 200
    assert max(grounds["dark"]) < 50


def test_reduced_motion_stops_what_moves(open_tab: Callable[..., Tab], stub: PageStub) -> None:
    stub.scenario = "warming"
    page = open_tab(reduced_motion="reduce").page
    page.goto(stub.url)
    expect(page.locator("#overlay-spinner")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.getElementById('overlay-spinner')).animationName") == "breathe"


def test_back_off_doubles_and_is_bounded(tab: Tab, stub: PageStub) -> None:
    tab.page.goto(stub.url)
    waits = tab.page.evaluate(
        "import('/page/backoff.js').then(m => [1, 2, 3, 4, 50].map(n => [m.backoffMs(n, 0), m.backoffMs(n, 1)]))"
    )
    assert waits == [[800, 1000], [1600, 2000], [3200, 4000], [6400, 8000], [8000, 10000]]


def test_a_model_left_out_is_told_beside_the_picture_that_plays(stub: PageStub, tab: Tab) -> None:
    stub.scenario = "left-out"
    tab.page.goto(stub.url)
    wait_until_playing(tab.page)
    expect(tab.page.locator("#stream-trouble")).to_contain_text("A model is left out: boxes/coco needs openvino")
    expect(tab.page.locator("#stream-state")).to_have_text("Running")
    stub.scenario = "normal"
    expect(tab.page.locator("#stream-trouble")).to_be_hidden(timeout=SOON_MS)
