"""Which variants there are; nothing is loaded."""

from pathlib import Path

import pytest

from models import variants
from models.backends import BACKENDS, LAYOUTS, Backend
from models.base import Kind
from models.variants import Role, kind_of, offered, same_work
from stream.errors import ModelError

OWN = """
class Film:
    ladder = (("size=small", 0.9),)
    def __init__(self, size="large"):
        pass
    def __call__(self, image):
        return image
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "film.py"
    path.write_text(OWN)
    return f"{path}:Film"


def test_without_words_a_model_is_offered_with_its_ladder_and_its_reference() -> None:
    found = offered("style")
    assert [(one.name, one.role) for one in found] == [
        ("style:backend=torch,precision=fp32", Role.REFERENCE),
        ("style", Role.DEFAULT),
        ("style:scale=0.75", Role.LIGHTER),
        ("style:scale=0.5", Role.LIGHTER),
    ]
    assert [one.rung for one in found] == ["", "", "scale=0.75", "scale=0.5"]


def test_all_has_every_backend_in_every_number_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "missing", lambda backend, device: None)
    names = {one.name for one in offered("boxes/coco", words=["all"])}
    for backend in BACKENDS:
        for precision in backend.precisions:
            way = f"boxes/coco:backend={backend.name},precision={precision}"
            assert way in names
            assert all((f"{way},layout={layout}" in names) == backend.layouts for layout in LAYOUTS)
    assert "boxes/coco:size=320" in names


def test_all_has_lighter_options_that_are_in_no_ladder_too() -> None:
    assert "style/13:scale=0.75" not in {one.name for one in offered("style/13")}
    assert "style/13:scale=0.75" in {one.name for one in offered("style/13", words=["all"])}


def test_product_has_each_lighter_option_in_each_way() -> None:
    names = {one.name: one for one in offered("boxes/coco", words=["product"])}
    one = names["boxes/coco:size=320,backend=openvino,precision=fp32"]
    assert (one.label, one.rung, one.role) == ("openvino fp32", "size=320", Role.WAY)


def test_a_backend_that_is_not_here_is_one_entry_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Backend("swift", "no_such_package_at_all", "pip install swift", ("cpu",), ("fp32", "bf16"), "made up")
    monkeypatch.setattr(variants, "BACKENDS", (*BACKENDS, gone))
    found = [one for one in offered("mask/person", words=["all"]) if one.label.startswith("swift")]
    assert [(one.label, one.why_not) for one in found] == [("swift", "swift is not installed: pip install swift")]


def test_a_way_that_the_model_does_not_take_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Backend("swift", "json", "pip install swift", ("cpu",), ("fp32",), "made up")
    monkeypatch.setattr(variants, "BACKENDS", (odd,))
    [found] = [one for one in offered("mask/person", words=["all"]) if one.role is Role.WAY]
    assert found.label == "swift fp32"
    assert found.why_not is not None and "backend='swift' is not allowed" in found.why_not


def test_a_word_keeps_the_variants_that_have_it() -> None:
    assert [one.label for one in offered("mask/person", words=["OpenVINO "])[2:]][:1] == ["openvino fp32"]
    assert {one.label.split()[0] for one in offered("mask/person", words=["openvino"])[2:]} == {"openvino"}
    assert [one.rung for one in offered("style", words=["scale=0.5"])[2:]] == ["scale=0.5"]
    assert len(offered("style", words=["reference"])) == 2


def test_a_word_that_no_variant_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(ModelError, match=r"no variant has 'tpu' in its name; there are torch bf16, .*all takes every"):
        offered("mask/person", words=["tpu"])


def test_what_a_person_wrote_stays_as_it_is() -> None:
    names = [one.name for one in offered("style:backend=torch,scale=0.75", words=["all"])]
    assert names[0] == "style:scale=0.75,backend=torch,precision=fp32"
    assert names[1] == "style:backend=torch,scale=0.75"
    assert all("backend=torch" in name and "scale=0.75" in name for name in names)
    assert len(names) > 2


def test_the_reference_itself_is_offered_once() -> None:
    [one, *others] = offered("mask/person:backend=torch,precision=fp32")
    assert (one.role, others) == (Role.REFERENCE, [])


def test_a_model_of_your_own_has_its_ladder_and_no_backends(own: str) -> None:
    assert [(one.name, one.role) for one in offered(own, words=["all"], kind=Kind.GENERATE)] == [
        (own, Role.DEFAULT),
        (f"{own}:size=small", Role.LIGHTER),
    ]


def test_kind_of_a_model_is_known_or_asked_for(own: str) -> None:
    assert kind_of("style/ink:strength=0.5") is Kind.GENERATE
    assert kind_of("mask/person") is Kind.RECOGNIZE
    assert kind_of(own, Kind.GENERATE) is Kind.GENERATE
    with pytest.raises(ModelError, match="--kind recognize or --kind generate"):
        kind_of(own)
    with pytest.raises(ModelError, match="no model 'stile'; did you mean style"):
        kind_of("stile")


def test_names_that_ask_for_the_same_work_are_told(own: str) -> None:
    assert same_work("style") == ("style", "style:where=all", "style:where=background")
    assert same_work("style:where=background,scale=0.5")[:2] == ("style:where=background,scale=0.5", "style:scale=0.5")
    assert same_work("mask/person") == ("mask/person",)
    assert same_work(own) == (own,)
