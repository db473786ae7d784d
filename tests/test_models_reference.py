"""What variants are compared with."""

import pytest

from models.reference import reference_of
from models.variants import Role, offered


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("boxes/coco", "boxes/coco:backend=torch,precision=fp32"),
        ("style:precision=int8,scale=0.5", "style:scale=0.5,backend=torch,precision=fp32"),
        ("style:backend=torch,layout=channels_last", "style:backend=torch,precision=fp32"),
        ("background/blur", "background/blur"),  # no network, so nothing else runs it
    ],
)
def test_it_is_torch_fp32_of_the_same_input(name: str, reference: str) -> None:
    assert reference_of(name) == reference


def test_the_clip_that_an_int8_variant_is_fitted_to_is_none_of_the_references() -> None:
    """Calibration belongs to int8: with it the bench's reference could not be loaded."""
    clip = "stream/sample/sample.mp4"
    [found] = [one for one in offered(f"boxes/coco:precision=int8,calibration={clip}") if one.role is Role.REFERENCE]
    assert found.name == "boxes/coco:backend=torch,precision=fp32"
