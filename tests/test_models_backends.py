"""The catalogue of backends."""

import pytest

from models.backends import BACKENDS, BY_NAME, Backend, missing


def test_torch_is_first_and_runs_everywhere() -> None:
    assert BACKENDS[0].name == "torch"
    assert missing(BY_NAME["torch"], "cpu") is None


@pytest.mark.parametrize("device", ["cuda:0", "cuda:3", "mps"])
def test_backend_of_another_device_says_where_it_runs(device: str) -> None:
    assert missing(BY_NAME["openvino"], device) == f"openvino runs on cpu, not on {device.partition(':')[0]}"


def test_backend_that_is_not_installed_says_how_to_get_it() -> None:
    absent = Backend("fast", "no_such_package_anywhere", "pip install fast", ("cpu",), ("fp32",), "")
    assert missing(absent, "cpu") == "fast is not installed: pip install fast"
