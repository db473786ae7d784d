"""A bench's page: what is in it, and how it looks in a real browser."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from stream.bench_report import html_page, verdict
from tests.browser.conftest import launch_chromium
from tests.made_bench import made_document, made_model, made_variants, quality, timing, variant

HOSTILE = (
    "</style></script><script>document.title='taken'</script><img src=x onerror=alert(1)>{{SCRIPT}}{{FOOT}}&amp;\"'"
)


def hostile_page() -> str:
    """Return the page of a bench in which everything that has a name would break out of the page."""
    found = variant(
        HOSTILE, "as it is", timing(5.0), timing(8.0, 2), name=HOSTILE, variant=HOSTILE, notes=[HOSTILE],
        likeness=quality(20.0, HOSTILE, HOSTILE, HOSTILE),
    )  # fmt: skip
    failed = variant(HOSTILE, "way", error=HOSTILE)
    model = made_model(found, failed) | {"name": HOSTILE}
    about = {key: HOSTILE for key in ("command", "device_text", "processor", "python")}
    return html_page(made_document(model, **about, versions={HOSTILE: HOSTILE}))


def test_verdict_says_what_came_out() -> None:
    assert (
        verdict(made_model()) == "style (openvino bf16): 25.0 ms, 4.0 times as fast as torch fp32, 51.5 dB, SSIM .998."
    )
    assert verdict(made_model(made_variants()[0])) == "style (torch fp32): 100 ms."
    assert verdict(made_model(variant("own", "as it is", timing(20.0, 4)))) == "style (own): 20.0 ms for 4 pictures."
    assert verdict(made_model(variant("own", "as it is", error="gone"))) == "style could not be measured."


def test_page_has_every_number_and_every_reason() -> None:
    page = html_page(made_document())
    for text in ("51.5 dB, SSIM .998", "31.0 dB, SSIM .910; below its floor", "137 MB", "0.7 MB", "40.0"):
        assert text in page
    for text in ("tensorrt runs on cuda, not on cpu", "A processor"):
        assert text in page
    assert "2026-01-02 03:04:05 UTC" in page and "torch 2.14.1, openvino 2026.4.1" in page
    assert "stopped before its end" not in page
    assert "stopped before its end" in html_page(made_document(made_model() | {"is_complete": False}))


def test_every_row_has_a_cell_for_each_head() -> None:
    page = html_page(made_document())
    rows = [row.count("<th") + row.count("<td") for row in re.findall(r"<tr.*?</tr>", page) if "class=" in row]
    assert len(set(rows)) == 1 and len(rows) == 1 + 5, rows


def test_page_has_no_script_and_asks_nothing_of_the_network() -> None:
    page = html_page(made_document())
    assert "<script" not in page and "http:" not in page and "https:" not in page and "url(" not in page
    assert "default-src 'none'" in page


def test_names_stay_text_whatever_they_are() -> None:
    page = hostile_page()
    assert "<script" not in page and "<img" not in page
    assert page.count("</style>") == 1
    assert page.count("{{FOOT}}") > 3, "what is put in is not looked at again"


def test_a_bench_of_which_nothing_worked_is_a_page() -> None:
    page = html_page(made_document(made_model(variant("a", "as it is", error="it is not here"))))
    assert "could not be measured" in page and "it is not here" in page


def test_every_file_of_the_page_is_packaged() -> None:
    root = Path(__file__).parent.parent
    assert {path.name for path in (root / "stream" / "bench_page").iterdir()} == {"bench.html", "bench.css"}
    packaged = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "bench_page/*" in packaged["stream"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()


@pytest.mark.browser
@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("page_of", [lambda: html_page(made_document()), hostile_page], ids=["made", "hostile"])
def test_page_fits_and_nothing_complains(
    chromium: Browser, tmp_path: Path, look: str, width: int, page_of: "object"
) -> None:
    (tmp_path / "bench.html").write_text(page_of())  # type: ignore[operator]
    context = chromium.new_context(color_scheme=look, viewport={"width": width, "height": 800})  # type: ignore[arg-type]
    page, complaints, requests = context.new_page(), [], []
    page.on("console", lambda line: complaints.append(line.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "bench.html").as_uri())
    assert complaints == [] and len([url for url in requests if not url.startswith("data:")]) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("svg.plot").count() == 3
    assert page.title() != "taken"
    ink, ground = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert _brightness(ground) > 0.8 > 0.3 > _brightness(ink) or _brightness(ground) < 0.2 < 0.7 < _brightness(ink)
    context.close()


def _brightness(colour: str) -> float:
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 765
