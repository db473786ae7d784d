"""Options of a stage that a person may change while the stream plays.

A model that allows it has `live_options`, the names, and `change(**options: str)`, which raises ModelError for a value
that is not allowed and then changes nothing. It may describe them: `describe_live()` gives {name: {"value", "meaning",
"allowed", "low", "high"}}, the last two None where the page shows a text box. Every variant of the ladder is changed,
in the stage's lane, so between two pictures and never in the middle of one.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stream.device import Device
from stream.errors import ProtocolError
from stream.stage import Stage, StageState, error_text

log = logging.getLogger(__name__)

CHANGE_S = 5.0  # a prompt through a text encoder on a slow CPU; a lane that hangs is told before
LONGEST_VALUE = 2000  # characters; a prompt of 77 tokens has some 400


def live_options(stage: Stage) -> frozenset[str]:
    """Return the names of the options that may change now."""
    return frozenset(getattr(stage.model, "live_options", ()))


def describe(stage: Stage) -> dict[str, Any]:
    """Return what the API tells of the options that may change, by name; empty when there are none."""
    told = getattr(stage.model, "describe_live", None)
    if told is not None:
        found: dict[str, Any] = told()
        return found
    unknown = {"value": "", "meaning": "", "allowed": "", "low": None, "high": None}
    return {name: dict(unknown) for name in sorted(live_options(stage))}


def read(stage: Stage, body: object) -> dict[str, str]:
    """Return the wanted values as text.

    Raises ProtocolError: 400 for what is no object of values, 409 for an option that cannot change while it plays.
    """
    if not isinstance(body, dict) or not body:
        raise ProtocolError('expected a JSON object of options and values, such as {"strength": 0.5}', 400)
    allowed = live_options(stage)
    given = {}
    for name, value in body.items():
        if name not in allowed:
            names = ", ".join(sorted(allowed)) or "none"
            raise ProtocolError(f"{stage.name}: {name!r:.40} cannot change while it plays; what can: {names}", 409)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ProtocolError(f"{stage.name}: {name}: expected text or a number", 400)
        text = value if isinstance(value, str) else f"{value:g}"
        if len(text) > LONGEST_VALUE:
            raise ProtocolError(f"{stage.name}: {name} has {len(text)} characters, at most {LONGEST_VALUE}", 400)
        given[name] = text
    return given


async def change(device: Device, state: StageState, given: Mapping[str, str]) -> dict[str, Any]:
    """Give every variant of a stage new values between two pictures, and return `describe`. Event loop.

    Raises ProtocolError: 400 for a value that is not allowed, 503 when the stage does not answer in time; then the
    change may still be taken later.
    """
    stage = state.stage
    models: list[Any] = [variant.model for variant in stage.ladder]

    def work() -> None:
        for model in models:
            model.change(**given)

    try:
        async with asyncio.timeout(CHANGE_S):
            completed = await device.submit(device.lane(stage.kind, stage.name), work)
    except TimeoutError as error:
        raise ProtocolError(f"{stage.name} has not answered for {CHANGE_S:g} s", 503) from error
    if completed.error is not None:
        raise ProtocolError(error_text(completed.error), 400) from completed.error
    if stage.batch_key:  # its pictures may no longer run as one job with those of streams that look otherwise
        state.stage = replace(stage, batch_key="")
    log.info("%s: changed %s", stage.name, ", ".join(f"{name}={value:.80}" for name, value in given.items()))
    return describe(stage)
