import csv
import io

import pytest

from stream.bench_results import (
    COLUMNS,
    bytes_words,
    csv_text,
    heading,
    ms_words,
    quality_words,
    remarks,
    seconds_words,
)
from tests.made_bench import made_document, made_model, timing, variant


def test_speed_is_told_by_the_reference() -> None:
    assert [one["times_reference"] for one in made_model()["variants"]] == [1.0, 4.0, 10.0, 100 / 12, None]


def test_without_a_reference_speed_is_told_by_the_model_as_it_is() -> None:
    found = made_model(variant("own", "as it is", timing(20.0)), variant("own, s=1", "lighter", timing(10.0)))
    assert [one["times_reference"] for one in found["variants"]] == [1.0, 2.0]
    only_batches = made_model(variant("own", "as it is", timing(20.0, 4)))
    assert only_batches["variants"][0]["times_reference"] is None


def test_csv_has_a_row_for_each_variant_and_batch_with_everything() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(made_document()))))
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["variant"], row["batch"]) for row in rows] == [
        ("torch fp32", "1"),
        ("torch fp32", "2"),
        ("openvino bf16", "1"),
        ("openvino bf16, scale=0.5", "1"),
        ("openvino int8", "1"),
        ("tensorrt", ""),
    ]
    assert rows[2]["p50_ms"] == "25.0" and rows[2]["images_per_s"] == "40.0" and rows[2]["times_reference"] == "4.0"
    assert rows[2]["quality"] == "51.5" and rows[2]["quality_measure"] == "PSNR" and rows[2]["below_floor"] == ""
    assert rows[4]["below_floor"] == "PSNR 31.0 dB is below the floor of 35"
    assert rows[5]["error"] == "tensorrt runs on cuda, not on cpu" and rows[5]["p50_ms"] == ""
    for row in rows:
        assert row["device"] == "cpu" and row["device_text"] == "CPU, 2 cores" and row["processor"] == "A processor"
        assert row["versions"] == "torch 2.14.1; openvino 2026.4.1" and row["created"] and row["threads"] == "2"


def test_a_document_is_complete_when_all_its_models_are() -> None:
    stopped = made_model() | {"is_complete": False}
    assert made_document()["is_complete"] and not made_document(made_model(), stopped)["is_complete"]


def test_quality_says_which_floor_is_missed() -> None:
    reference, default, lighter, int8, missing = made_model()["variants"]
    assert quality_words(reference) == "the reference"
    assert quality_words(default) == "51.5 dB, SSIM .998"
    assert quality_words(int8) == "31.0 dB, SSIM .910; below its floor"
    assert quality_words(missing) == ""
    assert lighter["quality"]["value"] == 19.1


@pytest.mark.parametrize(
    ("count", "words"), [(None, ""), (137_000_000, "137 MB"), (670_000, "0.7 MB"), (7_600_000, "7.6 MB"), (900, "1 kB")]
)
def test_bytes_are_told_in_units(count: int | None, words: str) -> None:
    assert bytes_words(count) == words


@pytest.mark.parametrize(("value", "words"), [(None, ""), (1234.5, "1234"), (23.45, "23.4"), (2.345, "2.35")])
def test_milliseconds_have_three_digits(value: float | None, words: str) -> None:
    assert ms_words(value) == words


def test_long_times_are_in_seconds() -> None:
    assert (seconds_words(None), seconds_words(2341.0)) == ("", "2.34 s")


def test_heading_says_what_the_numbers_hold_for() -> None:
    found = made_document()
    assert heading(found, found["models"][0]) == "style · 640x360 · CPU, 2 cores · 2 threads · 12 pictures"
    on_gpu = made_document(device="cuda:0", device_text="NVIDIA H100 (cuda:0)")
    assert heading(on_gpu, on_gpu["models"][0]) == "style · 640x360 · NVIDIA H100 (cuda:0) · 12 pictures"


def test_remarks_say_what_to_know_and_join_notes_that_are_the_same() -> None:
    same = ["takes one picture at a time"]
    found = made_model(variant("a", "reference", timing(9.0), notes=same), variant("b", "as it is", notes=same))
    assert remarks(found)[0] == "Other programs took 25% of the processor meanwhile."
    assert remarks(found)[-1] == "a; b: takes one picture at a time."
    both = made_model(variant("a", "reference", timing(9.0), notes=same))
    assert remarks(both)[-1] == "all: takes one picture at a time."
    assert remarks(made_model(other_load=None)) == [
        "openvino int8 is not as good as it must be to stand in: PSNR 31.0 dB is below the floor of 35."
    ]
    assert any("3 groups" in line for line in remarks(found | {"groups": 3}))
    assert any("Stopped before its end" in line for line in remarks(found | {"is_complete": False}))
