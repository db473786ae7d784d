"""Options that may change while a model plays."""

import pytest

from models.diffusion import OPTIONS as DIFFUSION
from models.live_options import LiveOptions, written
from models.style import OPTIONS as STYLE
from models.style import read_blend
from stream.errors import ModelError


def style_options(**given):
    values = {option.name: option.default for option in STYLE} | given
    return LiveOptions("style", STYLE, ("strength", "blend"), values)


def test_only_the_given_values_change():
    live = style_options(strength=0.5, blend=read_blend("2+12"))
    values = live.read({"strength": "0.25"})
    assert live.values["strength"] == 0.5  # read is not set
    live.set(values)
    assert (live.values["strength"], live.values["blend"]) == (0.25, ((2, 0.5), (12, 0.5)))


def test_wrong_value_and_unknown_name_say_what_is_allowed():
    live = style_options()
    with pytest.raises(ModelError, match=r"style: option strength='much' is not allowed: expected a number 0\.\.1"):
        live.read({"strength": "much"})
    with pytest.raises(ModelError, match="style: no option 'scale'"):
        live.read({"scale": "0.5"})


def test_description_has_a_range_for_numbers_only():
    described = style_options(blend=read_blend("2:0.3+12:0.7")).describe()
    assert (described["strength"]["low"], described["strength"]["high"]) == (0, 1)
    assert described["strength"]["value"] == "1"
    assert (described["blend"]["low"], described["blend"]["value"]) == (None, "2:0.3+12:0.7")


@pytest.mark.parametrize(("value", "text"), [(None, ""), (0.5, "0.5"), (1.0, "1"), ("a, b", "a, b"), (3, "3")])
def test_values_are_written_as_a_person_does(value, text):
    assert written(value) == text


def test_what_is_described_is_read_back_the_same():
    live = LiveOptions("d", DIFFUSION, ("prompt", "strength"), {o.name: o.default for o in DIFFUSION})
    assert live.read({name: told["value"] for name, told in live.describe().items()}) == live.values
