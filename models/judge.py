"""The reference as a judge of single pictures while a stream runs: torch fp32, in a process of its own.

A process, since a thread would take the interpreter from the stream's: importing torch holds it for a tenth of a second
at a time. The first question starts it; it computes on one thread at the lowest priority, and ends with the program.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any

from models.accuracy import compare
from models.base import Kind, Target
from models.check import WHILE_CHECKED
from models.contract import guarded
from models.floors import MEANINGS, below
from models.ladder import is_allowed, spelled
from models.reference import reference_of
from models.registry import load, parse
from models.stability import fault, headline
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

NICENESS = 19  # the lowest priority: it computes when nothing else wants the processor
START_S, ANSWER_S = 120.0, 30.0  # importing torch and reading weights at lowest priority; one picture
STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """How near one answer is to the reference's.

    measure  what `value` is, such as "PSNR", with its unit; "" when neither of the two found anything
    below    which floors this one picture did not reach, in words; "" when all
    """

    measure: str
    value: float
    unit: str
    below: str


class Judge:
    """The judge of one model, from outside. Blocks, so not for the event loop; one caller at a time."""

    def __init__(self, name: str, kind: Kind) -> None:
        """Nothing is started yet."""
        self._name, self._kind = name, kind
        self._process: Any = None  # None before the first question, and after close
        self._pipe: Connection | None = None

    def ask(
        self, image: Picture, found: Picture | Results, changed: Mapping[str, str] = MappingProxyType({})
    ) -> Judgement:
        """Return how near `found` is to what the reference says of `image [H,W,3]`, with the options `changed` live.

        The first time takes seconds: the process starts. Raises ModelError when it fails or does not answer; the
        next question starts anew.
        """
        wait_s = ANSWER_S if self._process is not None else START_S + ANSWER_S
        try:
            pipe = self._pipe or self._start()
            pipe.send((image, found, dict(changed)))
            if not pipe.poll(wait_s):
                raise ModelError(f"{self._name}: the reference did not answer within {wait_s:.0f} s")
            answer = pipe.recv()
        except (EOFError, OSError) as error:
            self.close()
            raise ModelError(f"{self._name}: the reference's process has ended") from error
        except ModelError:
            self.close()
            raise
        if isinstance(answer, Judgement):
            return answer
        raise ModelError(str(answer))

    def close(self) -> None:
        """End the process, by force where need be. Idempotent."""
        pipe, process = self._pipe, self._process
        self._pipe = self._process = None  # first: a question may be waiting on another thread, and close as well
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join(STOP_S)

    def _start(self) -> Connection:
        context = get_context("spawn")  # a fork would copy the threads' locks as they happen to stand
        ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._name, self._kind), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = ours
        return ours


def serve(pipe: Connection, name: str, kind: Kind) -> None:
    """Answer questions until the other side has gone. In the judge's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, which ends this process
    with suppress(OSError, AttributeError):  # not everywhere
        os.nice(NICENESS)
    model: Any = None
    applied: Mapping[str, str] = {}
    with suppress(EOFError, OSError):
        while True:
            image, found, changed = pipe.recv()
            try:
                model = model or load(judged_by(name), Target("cpu", 1), kind)
                if changed != applied:
                    guarded(f"{name}: change()", partial(model.change, **changed))
                    applied = changed
                pipe.send(judge(image, found, guarded(name, model, image)))
            except ModelError as error:
                pipe.send(str(error))


def judged_by(name: str) -> str:
    """Return the reference of a model, made to look at each picture by itself."""
    parsed = parse(reference_of(name))
    options = dict(parsed.options)
    for key, value in (*WHILE_CHECKED.items(), ("track", "off")):
        if is_allowed(spelled(parsed, {**options, key: value})):
            options[key] = value
    return spelled(parsed, options)


def has_judge(name: str) -> bool:
    """Whether a model has a reference other than itself."""
    return reference_of(name) != name


def judge(image: Picture, found: Picture | Results, reference: Picture | Results) -> Judgement:
    """Return how near an answer is to the reference's. Raises ModelError when the reference's own is not sound."""
    if wrong := fault(reference, image):
        raise ModelError(f"the reference gives no sound answer: {wrong}")
    measures = compare([found], [reference])
    first = headline(measures)
    if first is None:
        return Judgement("", 1.0, "", "")
    meaning = MEANINGS[first.name]
    return Judgement(meaning.text, round(first.value, meaning.decimals), meaning.unit, below(measures))
