"""Ladders: those that were measured for our models, and those that people and packages bring."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from models import registry
from models.base import Kind, Target
from models.findings import Finding, remember
from models.ladder import LEAST, QUALITIES, Rung, family, ladder, left_out, measured
from models.registry import cards, load, parse
from stream.errors import ModelError


@pytest.fixture(autouse=True)
def nothing_found_yet(tmp_path_factory, monkeypatch):
    """Keep what was checked on this machine out of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def names(name, kind=None):
    return [rung.name for rung in ladder(name, kind)]


@pytest.mark.parametrize(
    ("name", "lighter"),
    [
        ("style", ["style:scale=0.75", "style:scale=0.5"]),
        ("style/ink", ["style/ink:scale=0.75", "style/ink:scale=0.5"]),
        (
            "style/12:strength=0.7,where=background",
            [
                "style/12:strength=0.7,where=background,scale=0.75",
                "style/12:strength=0.7,where=background,scale=0.5",
            ],
        ),
        ("style/12:scale=1", []),
        ("style:scale=0.75,strength=0.5", []),
        ("boxes/coco", ["boxes/coco:size=320"]),
        ("boxes/coco:score=0.3,classes=person+car", ["boxes/coco:score=0.3,classes=person+car,size=320"]),
        ("boxes/coco:size=640", []),
        ("mask/person", []),
        ("classify/imagenet:top=5", []),
    ],
)
def test_lighter_variants_keep_what_a_person_wrote(name, lighter):
    assert names(name) == [name, *lighter]


@pytest.mark.parametrize("card", cards(), ids=lambda card: card.name)
def test_every_ladder_starts_at_one_falls_and_can_be_asked_for(card):
    rungs = ladder(card.name, card.kind)
    assert rungs[0] == Rung(card.name, 1.0)
    qualities = [rung.quality for rung in rungs]
    assert qualities == sorted(set(qualities), reverse=True)
    assert min(qualities) >= LEAST
    for rung in rungs:
        assert parse(rung.name, card.kind).where == card.name


def test_a_variant_that_shows_another_picture_is_listed_but_no_rung():
    assert names("style/night") == ["style/night"]
    assert names("style/3") == ["style/3", "style/3:scale=0.75"]
    assert [rung.name for rung in measured("style/night")] == ["style/night:scale=0.75", "style/night:scale=0.5"]
    assert all(rung.quality < LEAST for rung in measured("style/night"))


def test_a_blend_is_as_good_as_the_worst_of_its_styles():
    rungs = ladder("style/19:blend=2:0.3+12:0.7")  # the blend takes the place of the style named
    assert [rung.quality for rung in rungs[1:]] == [rung.quality for rung in ladder("style/2")[1:]]
    assert names("style:blend=23+19") == ["style:blend=23+19"]


def test_a_wrong_name_says_what_is_wrong():
    with pytest.raises(ModelError, match="did you mean style"):
        ladder("stile")
    with pytest.raises(ModelError, match="give it with --generate"):
        ladder("style", Kind.RECOGNIZE)
    with pytest.raises(ModelError, match="not allowed"):
        ladder("style:blend=99")


def test_families_are_those_that_have_measured_qualities():
    assert {family(card.name) for card in cards() if measured(card.name)} == QUALITIES.keys() == {"style", "boxes"}


def test_reading_ours_imports_neither_torch_nor_openvino():
    code = (
        "import sys\nfrom models.ladder import ladder\n"
        "print(len(ladder('style')), len(ladder('boxes/coco')), {'torch', 'openvino'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "3 2 set()", done.stderr


# --- people's own ---


@pytest.fixture
def own(tmp_path):
    """A function that writes a class with this ladder into a file and returns the model's name."""

    def write(ladder_source, options=""):
        path = tmp_path / f"film{len(list(tmp_path.iterdir()))}.py"
        path.write_text(
            "class Film:\n"
            f"    ladder = {ladder_source}\n"
            "    def __init__(self, size='large', grain='1'):\n        self.size = size\n"
            "    def __call__(self, image):\n        return image\n"
        )
        return f"{path}:Film{options}"

    return write


def test_own_ladder_becomes_rungs_that_can_be_loaded(own):
    name = own('(("size=small", 0.9), ["grain=0,size=tiny", 0.5])')
    rungs = ladder(name, Kind.GENERATE)
    assert rungs == (Rung(name, 1.0), Rung(f"{name}:size=small", 0.9), Rung(f"{name}:grain=0,size=tiny", 0.5))
    for rung in rungs:
        load(rung.name, Target("cpu", 1), Kind.GENERATE).close()


@pytest.mark.parametrize(
    ("given", "lighter"),
    [
        (":grain=3", [":grain=3,size=small"]),  # the other one would change the grain
        (":grain=0", [":grain=0,size=small", ":grain=0,size=tiny"]),
        (":size=tiny", [":size=tiny,grain=0"]),
        (":size=small", []),
        (":size=tiny,grain=0", []),
    ],
)
def test_own_options_are_added_to_what_a_person_wrote_and_change_none_of_it(own, given, lighter):
    name = own('(("size=small", 0.9), ("grain=0,size=tiny", 0.5))')
    assert names(name + given) == [name + given, *(name + options for options in lighter)]


@pytest.mark.parametrize("ladder_source", ["None", "()", "[]", '(("", 0.5),)'])
def test_own_model_without_a_ladder_has_one_rung(own, ladder_source):
    name = own(ladder_source)
    assert ladder(name) == (Rung(name, 1.0),)


def test_function_may_have_a_ladder_too(tmp_path):
    path = tmp_path / "blur.py"
    path.write_text("def blur(image, radius='9'):\n    return image\nblur.ladder = [('radius=3', 0.6)]\n")
    assert names(f"{path}:blur", Kind.GENERATE) == [f"{path}:blur", f"{path}:blur:radius=3"]


def test_name_in_a_module_has_its_ladder(tmp_path, monkeypatch):
    (tmp_path / "films.py").write_text("class Film:\n    ladder = (('size=small', 0.9),)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert names("films:Film") == ["films:Film", "films:Film:size=small"]


@pytest.mark.parametrize(
    ("ladder_source", "message"),
    [
        ('(("size=small", 1.5),)', r"expected ladder = .*0\.\.1.*got \('size=small', 1.5\)"),
        ('(("size=small", -0.1),)', "0..1"),
        ('(("size=small", float("nan")),)', "0..1"),
        ('(("size=small", True),)', "0..1"),
        ('(("size=small", "0.9"),)', "0..1"),
        ("((3, 0.9),)", "expected ladder"),
        ('(("size=small",),)', "expected ladder"),
        ('("size=small", 0.9)', "expected ladder = .*got 'size=small'"),
        ('"size=small"', "expected ladder"),
        ('{"size=small": 0.9}', "expected ladder"),
        ("lambda self: None", "expected ladder"),
        ('(("size=small", 1.0),)', "expected less than 1, got"),
        ('(("size=small", 0.5), ("size=tiny", 0.7))', "expected less than 0.5, got"),
        ('(("small", 0.5),)', "expected key=value behind the name, got 'small'"),
        ('(("size=small\\n\\n" * 60, 2),)', "expected ladder"),
    ],
)
def test_bad_own_ladder_is_one_line_that_says_what_came(own, ladder_source, message):
    with pytest.raises(ModelError, match=message) as caught:
        ladder(own(ladder_source), Kind.GENERATE)
    assert "\n" not in str(caught.value)


def test_own_code_that_breaks_while_it_is_read_is_named(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(
        "class Meta(type):\n    @property\n    def ladder(cls):\n        raise OSError('no disk')\n"
        "class Film(metaclass=Meta):\n    pass\n"
    )
    with pytest.raises(ModelError, match="its ladder: OSError: no disk"):
        ladder(f"{path}:Film")


# --- packages ---


def create(target, **options):
    """Stand for a package's factory."""


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [EntryPoint("cartoon", f"{__name__}:create", registry.GROUP)]
    )


def test_factory_of_a_package_may_have_a_ladder(plugin, monkeypatch):
    assert ladder("cartoon:edges=3") == (Rung("cartoon:edges=3", 1.0),)
    monkeypatch.setattr(create, "ladder", (("size=small", 0.8),), raising=False)
    assert names("cartoon:edges=3") == ["cartoon:edges=3", "cartoon:edges=3,size=small"]
    monkeypatch.setattr(create, "ladder", (("size=small", 2),), raising=False)
    with pytest.raises(ModelError, match="expected ladder"):
        ladder("cartoon")


# --- what was found on this machine ---


def found(name, reason="", quality=0.98, speed=1.5):
    remember([Finding(name, "some variant", reason, quality, speed, "pictures")])


INT8_BOXES = "boxes/coco:backend=openvino,precision=int8"


def test_int8_is_a_rung_once_it_was_found_good_and_faster():
    assert INT8_BOXES not in names("boxes/coco")
    found(INT8_BOXES)
    assert ladder("boxes/coco") == (
        Rung("boxes/coco", 1.0),
        Rung(INT8_BOXES, 0.98),
        Rung("boxes/coco:size=320", 0.89),
    )
    assert ladder("boxes/coco:score=0.3")[1].name == "boxes/coco:score=0.3,backend=openvino,precision=int8"
    for chosen in ("boxes/coco:backend=torch", "boxes/coco:precision=fp32", "boxes/coco:size=640"):
        assert not any("int8" in rung.name for rung in ladder(chosen)[1:])
    assert INT8_BOXES not in [rung.name for rung in ladder("boxes/coco", device="cuda:0")]


def test_int8_that_equals_the_reference_still_comes_behind_it():
    found(INT8_BOXES, quality=1.0)
    assert ladder("boxes/coco")[1] == Rung(INT8_BOXES, 0.999)


@pytest.mark.parametrize(
    ("reason", "speed", "says"),
    [("mAP is below", 2.0, "mAP is below"), ("", 1.29, "1.29 times as fast, and int8 must be 1.3 times")],
)
def test_int8_below_its_floor_or_too_slow_is_no_rung_and_says_why(reason, speed, says):
    found(INT8_BOXES, reason, speed=speed)
    assert names("boxes/coco") == ["boxes/coco", "boxes/coco:size=320"]
    assert says in dict(left_out("boxes/coco"))[INT8_BOXES]


def test_a_lighter_variant_that_was_found_wrong_is_no_rung():
    found("boxes/coco:size=320", "expected finite boxes and scores, got NaN or infinity")
    assert names("boxes/coco") == ["boxes/coco"]
    assert "NaN" in dict(left_out("boxes/coco"))["boxes/coco:size=320"]


def test_a_model_found_below_its_floors_runs_in_fp32_unless_a_person_chose():
    found("boxes/coco", "mAP is below")
    assert names("boxes/coco") == ["boxes/coco:precision=fp32", "boxes/coco:size=320"]
    assert dict(left_out("boxes/coco"))["boxes/coco"] == "mAP is below"
    found("boxes/coco:precision=bf16", "mAP is below")
    assert names("boxes/coco:precision=bf16")[0] == "boxes/coco:precision=bf16"


def test_what_is_left_out_is_told():
    whys = dict(left_out("style/night"))
    assert whys["style/night:scale=0.75"] == "quality 0.15 is below 0.3: it shows another picture"
    assert "`livelens models check style/night` does" in whys["style/night:backend=openvino,precision=int8"]
    assert left_out("os.path:join") == ()
