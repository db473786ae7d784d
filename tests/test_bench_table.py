import io

import pytest
from rich.console import Console

from stream.bench_table import WIDE, print_bench
from tests.made_bench import made_document, made_model, timing, variant


def printed(width: int, found: object = None) -> str:
    text = io.StringIO()
    print_bench(found or made_document(), Console(file=text, width=width, highlight=False))  # type: ignore[arg-type]
    return text.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, WIDE, 220])
def test_the_table_fits_every_terminal(width: int) -> None:
    lines = printed(width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for word in ("openvino", "25.0", "40.0", "51.5", "tensorrt", "other" if width < 50 else "Other programs took 25%"):
        assert word.lower() in text.lower()


def test_a_wide_terminal_has_one_table_and_a_narrow_one_two() -> None:
    def heads(width: int) -> int:
        return sum(line.startswith("variant") for line in printed(width).splitlines())

    assert (heads(80), heads(WIDE)) == (2, 1)


def test_a_variant_that_failed_says_why() -> None:
    assert "tensorrt: tensorrt runs on cuda, not on cpu" in printed(120)


def test_batches_have_a_column_only_where_there_are_some() -> None:
    assert "batch" in printed(200)
    one = made_document(made_model(variant("a", "as it is", timing(5.0))))
    assert not any(line.startswith("variant") and "batch" in line for line in printed(200, one).splitlines())


def test_memory_on_a_gpu_has_a_column_only_where_there_is_some() -> None:
    memory = {"host": 1_000_000, "device": 345_000_000, "weights": None}
    gpu = made_document(made_model(variant("torch fp16", "as it is", timing(5.0), memory=memory)))
    assert "on GPU" in printed(200, gpu) and "345 MB" in printed(200, gpu) and "345 MB" in printed(80, gpu)
    assert "on GPU" not in printed(200)


def test_names_are_text_and_no_markup() -> None:
    hostile = "[bold]x[/nothing]"
    found = made_document(made_model(variant(hostile, "as it is", timing(5.0), error=hostile, notes=[hostile])))
    assert printed(160, found).count(hostile) >= 3


def test_nothing_measured_is_no_crash() -> None:
    found = made_document(made_model(variant("a", "as it is", error="not measured")))
    assert "a: not measured" in printed(80, found)
