import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from stream.baseline import compare
from stream.cause import Cause
from stream.report import SCRIPTS, WORDS, html_report, verdict
from stream.run import Run
from stream.summary import summarize
from stream.view import DropReason
from tests.browser.conftest import launch_chromium
from tests.made_run import INFO, empty_run, made_run

HOSTILE = "</script><script>document.title='taken'</script><!--<img src=x onerror=alert(1)>{{SCRIPT}} \u2028 &amp;\"'"


def data_of(page: str) -> dict[str, object]:
    """Return what the page's scripts read."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


def hostile_run() -> Run:
    """Return a run in which everything that has a name is called something that would break out of a script."""
    run = made_run(12)
    run.info = replace(INFO, stream=HOSTILE, clip=HOSTILE, device_text=HOSTILE, versions={HOSTILE: HOSTILE})
    run.outcomes = [replace(one, dropped=one.dropped and HOSTILE, cause=HOSTILE, late_ns=1) for one in run.outcomes]
    run.ladder = [replace(one, stage=HOSTILE, before=HOSTILE, after=HOSTILE, reason=HOSTILE) for one in run.ladder]
    return run


def test_every_reason_and_cause_of_an_account_has_its_words() -> None:
    counted_only = {DropReason.WARMING, DropReason.REFUSED}  # before there is a pipeline: never in an account
    assert WORDS.keys() == {one.value for one in (*(set(DropReason) - counted_only), *Cause)}


def test_verdict_says_the_run_in_a_sentence() -> None:
    found = summarize(made_run(600))
    found["frames"] |= {"shown": 1000, "on_time": 973, "dropped": {}, "captured": 1000}
    found["latency_ms"]["capture_to_send"]["p99"] = 131.2
    found["causes"] = {"model": 20, "waiting": 7}
    assert verdict(found) == "97.3 % of shown frames were on time; p99 131 of 150 ms; most misses: model."
    found["frames"] |= {"on_time": 1000, "dropped": {"no_time": 1}, "captured": 1001}
    assert verdict(found).startswith("100 % of shown frames were on time; p99 131 of 150 ms; 0.1 % of all frames were")
    found |= {"is_complete": False, "frames": found["frames"] | {"expected": 3000}}
    assert "; only 1001 of 3000 frames of the clip were played; most misses" in verdict(found)


@pytest.mark.parametrize(("on_time", "said"), [(99_999, "99.9 %"), (100_000, "100 %"), (1, "0.1 %"), (0, "0.0 %")])
def test_verdict_says_all_only_of_all_and_none_only_of_none(on_time: int, said: str) -> None:
    found = summarize(made_run(5))
    found["frames"] |= {"captured": 100_000, "shown": 100_000, "on_time": on_time}
    assert verdict(found).startswith(f"{said} of shown frames")


def test_verdict_of_a_run_without_pictures_says_why() -> None:
    assert verdict(summarize(empty_run())) == "No frame arrived."
    found = summarize(made_run(5))
    found["frames"] |= {"captured": 20, "shown": 0, "on_time": 0, "dropped": {"warming": 20}}
    assert verdict(found) == "None of the 20 frames that arrived was shown; most often dropped as warming."


def test_data_is_the_summary_and_every_frame() -> None:
    run = made_run(90)
    found = summarize(run, memory_mb=5.0)
    data = data_of(html_report(run, found))
    kept = {name: value for name, value in found.items() if name not in ("samples_ms", "shown_at_ms", "outcomes")}
    assert data["summary"] == json.loads(json.dumps(kept))
    frames = data["frames"]
    assert isinstance(frames, dict)
    assert {len(column) for column in frames.values()} == {90}
    assert [round(age, 2) for age in frames["age_ms"] if age is not None] == found["samples_ms"]
    assert data["baseline"] is None


def test_names_cannot_break_out_of_the_data() -> None:
    run = hostile_run()
    page = html_report(run, summarize(run))
    assert page.count("<script") == html_report(made_run(12), summarize(made_run(12))).count("<script")
    assert page.count("</script") == page.count("<script")
    assert "<img" not in page
    assert HOSTILE in json.dumps(data_of(page)["summary"], ensure_ascii=False).replace('\\"', '"')


def test_page_asks_nothing_of_the_network() -> None:
    page = html_report(made_run(5), summarize(made_run(5)))
    without_namespace = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(", without_namespace)
    assert "default-src 'none'" in page


def test_every_file_of_the_page_is_used_and_packaged() -> None:
    root = Path(__file__).parent.parent
    there = {path.name for path in (root / "stream" / "report_page").iterdir()}
    assert there == {"report.html", "report.css", *SCRIPTS}
    packaged = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    assert "report_page/*" in packaged["stream"]


# ---- in a real Chromium


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One Chromium for this module; each test opens its own context in it."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()


class Opened:
    """A report in a tab, with what it complained about and what it asked for."""

    def __init__(self, browser: Browser, path: Path, html: str, **context: object) -> None:
        path.write_text(html, "utf-8")
        self.context = browser.new_context(**context)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda line: self.complaints.append(line.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text().replace("\u202f", "")

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def opened(chromium: Browser, tmp_path: Path) -> Iterator[object]:
    """A function that opens a report; keywords are the browser context's."""
    tabs: list[Opened] = []

    def open_one(run: Run, summary: dict[str, object], baseline: object = None, **context: object) -> Opened:
        html = html_report(run, summary, baseline)  # type: ignore[arg-type]
        tabs.append(Opened(chromium, tmp_path / f"{len(tabs)}.html", html, **context))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.close()


def dropped_run() -> Run:
    """Return a run of which nothing was shown."""
    run = made_run(40)
    run.outcomes = [replace(one, dropped="warming", stamps_ns={}, decisions={}) for one in run.outcomes]
    return run


SIZES = {
    "empty": empty_run(),
    "dropped": dropped_run(),
    "one": made_run(1),
    "small": made_run(20),
    "large": made_run(20_000),
}


@pytest.mark.browser
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("look", ["light", "dark"])
def test_page_draws_itself_without_a_complaint_and_fits_a_phone(name: str, look: str, opened: object) -> None:
    run = SIZES[name]
    tab = opened(run, summarize(run), color_scheme=look, viewport={"width": 390, "height": 844})  # type: ignore[operator]
    assert tab.complaints == []
    assert len([url for url in tab.requests if not url.startswith("data:")]) == 1, "only the page itself"
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    gaps = tab.page.evaluate("""() => [...document.querySelectorAll(".axis")].map((axis) => {
      const at = [...axis.children].map((one) => one.getBoundingClientRect()).sort((a, b) => a.left - b.left);
      return Math.min(...at.slice(1).map((one, i) => one.left - at[i].right), 1e3);
    })""")
    assert all(gap > 0 for gap in gaps), "numbers on an axis do not touch"


@pytest.mark.browser
def test_numbers_on_the_page_are_those_of_the_summary(opened: object) -> None:
    run = made_run(600)
    found = summarize(run, memory_mb=812.0)
    tab = opened(run, found)  # type: ignore[operator]
    assert tab.text("#verdict") == verdict(found)
    assert f"{found['frames']['on_time']} of {found['frames']['shown']} frames" in tab.text("#tile-on-time")
    assert f"{found['latency_ms']['capture_to_send']['p50']:.1f}" in tab.text("#tile-p50")
    assert f"{found['fps']['shown']:.1f}" in tab.text("#tile-fps")
    assert f"{found['utility']:.2f}" in tab.text("#tile-utility")
    for reason, amount in found["frames"]["dropped"].items():
        assert re.search(rf"{reason.replace('_', ' ')}.*\b{amount}\b", tab.text("#drops"), re.DOTALL)
    for cause, amount in found["causes"].items():
        assert re.search(rf"{cause}.*\b{amount}\b", tab.text("#causes"), re.DOTALL)
    for change in found["ladder"]:
        assert change["reason"] in tab.text("#ladder-changes")
    assert tab.page.locator("#waterfall details").count() == 20
    worst = found["misses"][0]
    assert tab.text("#waterfall details:first-of-type summary").startswith(f"{worst['seq']} at ")
    legend = [int(amount) for amount in re.findall(r" (\d+)$", tab.text("#timeline-legend"), re.MULTILINE)]
    assert sum(legend) == found["frames"]["captured"]
    assert found["decisions_sha256"] in tab.text("#foot")
    assert tab.complaints == []


@pytest.mark.browser
def test_what_was_planned_for_drawing_and_encoding_has_one_name(opened: object) -> None:
    """It is one number for two steps: the bar called it "encode", and the table put it beside "compose" alone."""
    run = made_run(60)
    tab = opened(run, summarize(run, other_load=0.43), viewport={"width": 1280, "height": 900})  # type: ignore[operator]
    bar = tab.page.locator("#budget .row", has_text="planned").first
    parts = [bar.locator(".part").nth(place).get_attribute("title") for place in range(2)]
    assert parts == ["models", "draw + encode"]
    cell = tab.page.locator("#budget-table td[rowspan='2']")
    assert cell.inner_text().split("\n") == ["9.0", "draw + encode"]
    assert "43 % of the processor" in tab.text("#foot")
    assert tab.complaints == []


@pytest.mark.browser
def test_keyboard_goes_from_miss_to_miss_and_zooms(opened: object) -> None:
    run = made_run(600)
    tab = opened(run, summarize(run))  # type: ignore[operator]
    tab.page.locator("#timeline").focus()
    tab.page.keyboard.press("ArrowRight")
    assert tab.text("#readout").startswith("Frame 0 at 0.00 s")
    tab.page.keyboard.press("Shift+ArrowRight")
    missed = next(one for one in run.outcomes if not one.is_on_time)
    assert tab.text("#readout").startswith(f"Frame {missed.seq} at ")
    assert tab.page.locator("#zoom-out").is_disabled()
    tab.page.keyboard.press("+")
    assert tab.page.locator("#zoom-out").is_enabled()
    tab.page.keyboard.press("End")
    assert tab.text("#readout").startswith("Frame 599 at ")
    assert tab.complaints == []


@pytest.mark.browser
def test_pointer_tells_the_frame_under_it(opened: object) -> None:
    run = made_run(20)
    tab = opened(run, summarize(run), viewport={"width": 1280, "height": 900})  # type: ignore[operator]
    box = tab.page.locator("#timeline").bounding_box()
    assert box
    tab.page.mouse.move(box["x"] + 44 + (box["width"] - 44) * 7.5 / 20, box["y"] + box["height"] / 2)
    assert tab.text("#readout").startswith("Frame 7 at 0.23 s")


@pytest.mark.browser
def test_comparison_with_a_baseline_is_shown(opened: object) -> None:
    run = made_run(600)
    before, now = summarize(made_run(600, 5), machine_probe_ms=1.0), summarize(run, machine_probe_ms=1.2)
    found = compare(before, now)
    tab = opened(run, now, found)  # type: ignore[operator]
    rows = tab.page.locator("#baseline tbody tr")
    assert rows.count() == len(found)
    assert [rows.nth(place).locator(".pill").inner_text() for place in range(len(found))] == [
        one.verdict for one in found
    ]
    assert "20 % slower than at the baseline" in tab.text("#baseline")
    assert tab.complaints == []


@pytest.mark.browser
def test_hostile_names_are_shown_as_text(opened: object) -> None:
    run = hostile_run()
    tab = opened(run, summarize(run))  # type: ignore[operator]
    assert HOSTILE[:20] in tab.text("#title")
    assert "taken" not in tab.page.title()[:5]
    assert tab.page.locator("img").count() == 0
    assert tab.complaints == []
