"""What was found of variants: kept, found again, and worth nothing once versions changed or the file is damaged."""

import json

import pytest

from models import findings
from models.findings import Finding, finding, identity, is_equivalent, refusal, remember


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


GOOD = Finding("boxes/coco:precision=int8", "openvino int8", "", 0.98, 1.5, "some pictures")
BAD = Finding("boxes/coco", "openvino bf16", "mAP too low", 0.6, 1.0, "some pictures")


def test_what_was_found_is_found_again_by_any_spelling():
    remember([GOOD, BAD])
    assert finding("boxes/coco:precision=int8") == finding("boxes/coco:score=0.3,precision=int8,backend=auto") == GOOD
    assert refusal("boxes/coco") == "mAP too low"
    assert refusal("boxes/coco:precision=int8") == refusal("boxes/coco:size=320") == refusal("mask/person") == ""
    assert findings.findings() == (GOOD, BAD)


def test_the_last_finding_of_a_variant_counts():
    remember([BAD])
    remember([Finding("boxes/coco", "openvino bf16", "", 1.0, 1.0, "others")])
    assert refusal("boxes/coco") == "" and len(findings.findings()) == 1


def test_a_finding_is_of_one_device_and_of_these_versions(monkeypatch):
    remember([BAD])
    assert refusal("boxes/coco", "cuda:0") == ""
    monkeypatch.setattr(findings, "_version", lambda package: "99")
    assert finding("boxes/coco") is None and findings.findings() == ()


def test_the_oldest_go_first(monkeypatch):
    monkeypatch.setattr(findings, "KEPT_AT_MOST", 1)
    remember([BAD, GOOD])
    assert findings.findings() == (GOOD,)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"a": {}}', json.dumps({"a": {"name": 1}}), '{"a": {"nonsense": 1}}', "\udcff"],
)
def test_a_damaged_file_holds_nothing_and_is_replaced(text, caplog):
    findings.kept_at().parent.mkdir(parents=True, exist_ok=True)
    findings.kept_at().write_bytes(text.encode("utf-8", "surrogateescape"))
    assert findings.findings() == () and "livelens models check" in caplog.text
    remember([BAD])
    assert refusal("boxes/coco") == "mAP too low"


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember([BAD])
    assert "cannot keep what was found" in caplog.text


def test_a_name_that_cannot_be_read_was_never_checked():
    assert finding("no/such") is None and refusal("no/such") == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("style", "style:backend=torch,precision=fp32,layout=channels_last", True),
        ("style:where=background", "style:precision=int8", True),
        ("style", "style:scale=0.5", False),
        ("style", "style/12", False),
        ("boxes/coco:size=320", "boxes/coco:precision=fp32,size=320", True),
        ("boxes/coco", "boxes/coco:size=320", False),
    ],
)
def test_equivalent_is_the_same_network_on_the_same_input(one, other, same):
    assert is_equivalent(one, other) is same


def test_an_identity_has_its_options_in_order_and_none_that_only_choose_what_is_shown():
    assert identity("style:where=background,scale=0.5,backend=torch") == "style:backend=torch,scale=0.5"
    assert identity("boxes/coco:precision=auto") == "boxes/coco"
