"""Options changed while a stream plays: between pictures, in every variant, and answered over HTTP."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from models.base import Card, Kind, Target
from models.registry import load
from models.style import STYLES
from stream import controls
from stream.errors import ModelError, ProtocolError
from stream.stage import Stage, StageState
from stream.view import StageKind
from stream.wiring import Rung, WarmStage
from tests.test_server import Site

PATCH = "/api/streams/s/stages/paint"


class Paint:
    """Gives a grey of the level it was told; notes in which thread it was called, and whether two were at once."""

    card = Card("paint", Kind.GENERATE, "grey", "x", "x")
    variant = "own"
    live_options = frozenset({"level", "word"})

    def __init__(self) -> None:
        self.values = {"level": "100", "word": "a"}
        self.threads: set[int] = set()
        self.changed_in_the_middle = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._busy = threading.Lock()

    def warm(self, height: int, width: int) -> None: ...

    def __call__(self, image: np.ndarray) -> np.ndarray:
        with self._busy:
            self.threads.add(threading.get_ident())
            return np.full_like(image, int(self.values["level"]))

    def change(self, **options: str) -> None:
        assert self.may_answer.wait(20)
        self.changed_in_the_middle |= self._busy.locked()
        self.threads.add(threading.get_ident())
        if "level" in options and not options["level"].isdigit():
            raise ModelError(f"paint: level={options['level']!r} is not allowed: expected 0 to 255")
        self.values = self.values | options

    def close(self) -> None: ...


class Described(Paint):
    def describe_live(self) -> dict[str, Any]:
        return {"level": {"value": self.values["level"], "meaning": "", "allowed": "", "low": 0, "high": 255}}

    def counts(self) -> dict[str, int]:
        return {"painted": 7}


def warm_stage(model: Any, *lighter: Any) -> WarmStage:
    return WarmStage(model, StageKind.GENERATE, 1, "paint", [Rung(one, "small", 0.5) for one in lighter])


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.client.start_server()
    yield site
    await site.close()


async def patched(site: Site, body: Any, path: str = PATCH, **more: Any) -> tuple[int, Any]:
    async with site.client.patch(path, json=body, **more) as answer:
        return answer.status, await answer.json()


async def test_a_change_is_answered_with_the_new_values_and_shows(site: Site) -> None:
    model, lighter = Described(), Described()
    await site.add(load_stages=[partial(warm_stage, model, lighter)])
    await site.show(site.streams["s"], 3)
    status, answer = await patched(site, {"level": 7, "word": "b, c"})
    assert (status, answer["live"]["level"]["value"]) == (200, "7")
    assert model.values == lighter.values == {"level": "7", "word": "b, c"}
    await site.show(site.streams["s"], 6)
    (stage,) = site.streams["s"].status()["stages"]
    assert stage["live"]["level"]["value"] == "7"
    assert stage["counts"] == {"painted": 7}


async def test_a_change_happens_in_the_lane_and_never_inside_a_picture(site: Site) -> None:
    model = Paint()
    await site.add(load_stages=[partial(warm_stage, model)])
    await site.show(site.streams["s"], 2)
    model.threads.clear()
    for level in range(20):
        assert (await patched(site, {"level": level}))[0] == 200
    await site.show(site.streams["s"], 10)
    assert len(model.threads) == 1
    assert not model.changed_in_the_middle


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"level": "much"}, 400, "paint: level='much' is not allowed: expected 0 to 255"),
        ({"size": 3}, 409, "paint: 'size' cannot change while it plays; what can: level, word"),
        ({"level": True}, 400, "paint: level: expected text or a number"),
        ({"level": [1]}, 400, "paint: level: expected text or a number"),
        ({"word": "x" * 2001}, 400, "paint: word has 2001 characters, at most 2000"),
        ({}, 400, "expected a JSON object"),
        ([1], 400, "expected a JSON object"),
    ],
)
async def test_a_wrong_value_is_one_line_and_changes_nothing(site: Site, body: Any, status: int, message: str) -> None:
    model = Paint()
    await site.add(load_stages=[partial(warm_stage, model)])
    got, answer = await patched(site, body)
    assert (got, message in answer["error"]) == (status, True), answer
    assert "\n" not in answer["error"]
    assert model.values == {"level": "100", "word": "a"}


async def test_a_wrong_request_gets_its_status(site: Site) -> None:
    await site.add(load_stages=[partial(warm_stage, Paint())])
    assert (await patched(site, {"level": 1}, "/api/streams/s/stages/nobody"))[0] == 404
    assert (await patched(site, {"level": 1}, "/api/streams/nobody/stages/paint"))[0] == 404
    for body, content_type, status in (
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"{}", "text/plain", 415),
    ):
        async with site.client.patch(PATCH, data=body, headers={"Content-Type": content_type}) as answer:
            assert answer.status == status
            assert list(await answer.json()) == ["error"]


async def test_another_sites_page_may_not_change_anything(site: Site) -> None:
    model = Paint()
    await site.add(load_stages=[partial(warm_stage, model)])
    assert (await patched(site, {"level": 1}, headers={"Origin": "https://evil.example"}))[0] == 403
    assert (await patched(site, {"level": 1}, headers={"Host": "evil.example"}))[0] == 403
    assert model.values["level"] == "100"


async def test_a_model_without_live_options_says_that_nothing_can_change(site: Site) -> None:
    model = Paint()
    model.live_options = frozenset()
    await site.add(load_stages=[partial(warm_stage, model)])
    status, answer = await patched(site, {"level": 1})
    assert (status, "what can: none" in answer["error"]) == (409, True)
    (stage,) = site.streams["s"].status()["stages"]
    assert (stage["live"], stage["counts"]) == ({}, {})


async def test_a_stage_that_does_not_answer_is_told_and_others_need_not_wait(site: Site, monkeypatch: Any) -> None:
    model = Paint()
    await site.add(load_stages=[partial(warm_stage, model)])
    monkeypatch.setattr(controls, "CHANGE_S", 0.5)
    model.may_answer.clear()
    try:
        first = asyncio.ensure_future(patched(site, {"level": 1}))
        await asyncio.sleep(0.1)
        status, answer = await patched(site, {"level": 2})
        assert (status, "taking another change" in answer["error"]) == (503, True)
        status, answer = await first
        assert (status, answer["error"]) == (503, "paint has not answered for 0.5 s")
    finally:
        model.may_answer.set()


async def test_changed_pictures_are_no_longer_batched_with_others(site: Site) -> None:
    stage = replace(Stage("paint", StageKind.GENERATE, Paint()), batch_key="style 0", max_batch=4)
    state = StageState(stage)
    await controls.change(site.device, state, {"level": "3"})
    assert state.stage.batch_key == ""
    assert state.stage.ladder[0].model is stage.model


def test_an_option_that_is_not_live_is_refused_before_the_lane() -> None:
    with pytest.raises(ProtocolError) as caught:
        controls.read(Stage("paint", StageKind.GENERATE, Paint()), {"image": "/etc/passwd"})
    assert caught.value.status == 409


def test_style_changes_strength_and_blend_live() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    style: Any = load("style", Target("cpu", 1))
    assert style.live_options == {"strength", "blend"}
    style.change(strength="0")
    assert np.abs(style(image).astype(int) - image).max() <= 1
    style.change(strength="1", blend="12")
    other = load("style/12", Target("cpu", 1))
    assert np.array_equal(style(image), other(image))
    with pytest.raises(ModelError, match="blend='99' is not allowed"):
        style.change(strength="0.5", blend="99")
    assert style.describe_live()["strength"]["value"] == "1"


def test_a_scale_that_was_tuned_takes_a_blend_live_as_the_full_size_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    lighter: Any = load("style:scale=0.5", Target("cpu", 1))
    assert len(lighter.style_weights) == STYLES + 1, "the default style comes tuned for this scale"
    lighter.change(blend="12")
    assert np.array_equal(lighter(image), load("style/12:scale=0.5", Target("cpu", 1))(image))


def test_a_model_of_your_own_may_have_live_options(tmp_path: Any) -> None:
    (tmp_path / "mine.py").write_text(
        "class Grey:\n"
        "    live_options = {'level'}\n"
        "    level = 5\n"
        "    def __call__(self, image):\n        image[:] = self.level\n        return image\n"
        "    def change(self, level):\n        self.level = int(level)\n"
    )
    model: Any = load(f"{tmp_path / 'mine.py'}:Grey", Target("cpu", 1), Kind.GENERATE)
    assert model.live_options == {"level"}
    model.change(level="9")
    assert (model(np.zeros((4, 4, 3), np.uint8)) == 9).all()
    with pytest.raises(ModelError, match=r"change\(level\)"):
        model.change(level="x")
