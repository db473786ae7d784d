"""listing.py: what a person reads, also on a narrow terminal and in a pipe."""

import io

import pytest
from rich.console import Console

from models.base import Card, Kind
from stream import listing
from stream.doctor import Check, State

CARDS = [
    Card("style/10", Kind.GENERATE, "red-brown chalk", "MIT", "x"),
    Card("style/2", Kind.GENERATE, "light wash", "MIT", "x"),
    Card("style", Kind.GENERATE, "26 styles", "MIT", "x", options=(("where", "all or background"),)),
    Card("mask/person", Kind.RECOGNIZE, "who is a person", "Apache-2.0", "x"),
]


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False)


def text_of(page: Console) -> str:
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue()


def test_models_stand_under_what_they_do_in_natural_order() -> None:
    page = console(80)
    listing.print_models(CARDS, page)
    text = text_of(page)
    places = [
        text.index(word) for word in ("Recognition", "mask/person", "Generation", "26 styles", "style/2", "style/10")
    ]
    assert places == sorted(places)
    assert "where=all or background" in text


def test_licence_is_said_once_for_a_family() -> None:
    page = console(80)
    listing.print_models(CARDS, page)
    assert text_of(page).count("licence: MIT") == 1
    assert text_of(page).count("licence: Apache-2.0") == 1


@pytest.mark.parametrize("width", [30, 46, 80, 200])
def test_nothing_is_wider_than_the_terminal_or_cut(width: int) -> None:
    page = console(width)
    listing.print_models(CARDS, page)
    listing.print_sources(["camera:0  Front camera"], page)
    listing.print_checks([Check("port", State.WARN, "8080 cannot be used", "use --port 8081")], page)
    text = text_of(page)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text  # no colour codes outside a terminal


def test_sources_show_cameras_and_every_form() -> None:
    page = console(100)
    listing.print_sources(["camera:0  Front camera"], page)
    text = text_of(page)
    assert "Front camera" in text
    for form in ("camera:0", "rtsp://", "https://", "talk.mp4", "holiday/", "test:", "browser"):
        assert form in text


def test_sources_without_camera_say_so() -> None:
    page = console(100)
    listing.print_sources([], page)
    assert "none found" in text_of(page)


def test_checks_end_with_what_to_repair_or_ready() -> None:
    page = console(100)
    listing.print_checks([Check("codecs", State.FAIL, "nothing", "install av")], page)
    assert "-> install av" in text_of(page)
    assert text_of(page).rstrip().endswith("Repair first: codecs.")
    page = console(100)
    listing.print_checks([Check("python", State.OK, "3.12")], page)
    assert text_of(page).rstrip().endswith("Ready: livelens serve")


def test_an_option_of_many_models_is_said_once_and_they_are_marked() -> None:
    backend, own = ("backend", "what runs it"), ("score", "the least")
    cards = [Card(f"{name}/x", Kind.RECOGNIZE, "finds", "MIT", "x", options=(own, backend)) for name in "abc"]
    cards.append(Card("plain", Kind.RECOGNIZE, "finds nothing", "MIT", "x"))
    page = console(80)
    listing.print_models([cards[0], *cards[1:]], page)
    text = text_of(page)
    assert text.count("backend=") == 1 and "a/x +" in text and "plain +" not in text
    assert text.index("backend=") > text.index("plain")


def test_another_name_of_a_model_stands_beside_its_first() -> None:
    named = Card("style/wash", Kind.GENERATE, "style/2: light wash", "MIT", "x")
    page = console(80)
    listing.print_models([*CARDS, named], page)
    assert "light wash (also style/wash)" in text_of(page)
    assert text_of(page).count("style/wash") == 1


MANY = [Card(f"zoo/net{i}", Kind.RECOGNIZE, "boxes", "BSD", "x", collection="zoo") for i in range(40)]


def test_a_collection_is_one_line_among_the_models() -> None:
    page = console(100)
    listing.print_models([*CARDS, *MANY], page)
    text = text_of(page)
    assert "zoo/NAME  " in text
    assert "40 networks: livelens models list zoo" in text
    assert "zoo/net7" not in text
    assert text.index("zoo/NAME") < text.index("Generation")


def test_a_collection_by_itself_names_all_and_its_options_once() -> None:
    page = console(100)
    listing.print_collection([*MANY, Card("zoo/other", Kind.RECOGNIZE, "masks", "BSD", "x")], page)
    text = text_of(page)
    assert all(f"zoo/net{i} " in text.replace("\n", " ") for i in range(40))
    assert text.count("licence: BSD") == 2  # once for what finds boxes, once for what finds masks
