"""One model applied to the frames of one stream, and what is remembered between frames."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream.clock import NS_PER_S
from stream.errors import ModelError
from stream.frame import Frame, Picture
from stream.ladder import LadderControl
from stream.lanes import Launched
from stream.results import Results
from stream.stats import Rate
from stream.view import StageKind

ERRORS_TO_OPEN = 5  # failures in a row after which a stage is left out
RETRY_AFTER_NS = 10 * NS_PER_S  # then one frame tries again; short enough that a person sees it recover


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run a stage. `quality` 0..1 against the best variant, as measured."""

    name: str
    quality: float
    model: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """A model with its place in a stream.

    model       called as model(image), or model(image, results) when `needs` is not empty
    lighter     further variants of it, from better to lighter: with `model` first they are the stage's ladder
    cost_name   under which costs are learned: streams with the same share them; "" is the stage's name
    batch_key   stages of the same key (not "") may run as one job: model.many(images) -> list, at most `max_batch`
    needs       names of stages whose results it is given
    max_age_ns  how old a reused result may be; 0 for generation and for what must be exact
    threads     how many of the device's threads the model occupies
    background  blend the generated picture in behind people only (needs a stage that gives "mask")
    enlargement  times as wide and as high as the frame its picture is
    boxes_people  its boxes labelled "person" say where a mask may be believed
    """

    name: str
    kind: StageKind
    model: Callable[..., Any]
    variant: str = ""
    gives: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    max_age_ns: int = 0
    threads: int = 1
    background: bool = False
    enlargement: int = 1
    boxes_people: bool = False
    lighter: tuple[Variant, ...] = ()
    cost_name: str = ""
    batch_key: str = ""
    max_batch: int = 1

    ladder: tuple[Variant, ...] = field(init=False)  # every variant, the best first

    def __post_init__(self) -> None:
        object.__setattr__(self, "ladder", (Variant(self.variant, 1.0, self.model), *self.lighter))

    def apply(self, frame: Frame, rung: int = 0) -> Picture | Results:
        """Run a variant on the frame's picture. Device worker only. Raises ModelError or what the model raises."""
        model = self.ladder[rung].model if rung else self.model
        found = model(frame.image, frame.results) if self.needs else model(frame.image)
        return self._checked(found, frame.image)

    def apply_all(self, frames: Sequence[Frame], rung: int = 0) -> list[Picture | Results]:
        """Run a variant on several pictures of one size as one batch. Otherwise like `apply`."""
        if len(frames) == 1:
            return [self.apply(frames[0], rung)]
        images = [frame.image for frame in frames]
        return self.all_checked(self.ladder[rung].model.many(images), images)  # type: ignore[attr-defined]

    def all_checked(self, found: Iterable[object], images: Sequence[Picture]) -> list[Picture | Results]:
        """Return what a model gave for several pictures, checked. Raises ModelError."""
        each = list(found)
        if len(each) != len(images):
            raise ModelError(f"{self.name}: expected {len(images)} results for as many pictures, got {len(each)}")
        return [self._checked(one, image) for one, image in zip(each, images, strict=True)]

    def can_launch(self, rung: int = 0) -> bool:
        """Whether a variant can be started without waiting: its model has `launch`, and needs nobody's results."""
        return not self.needs and getattr(self.ladder[rung].model, "launch", None) is not None

    def launch_all(self, frames: Sequence[Frame], rung: int = 0) -> "LaunchedStage":
        """Start a variant on the pictures of several frames, without waiting. Launcher only; raises what it raises."""
        images = [frame.image for frame in frames]
        return LaunchedStage(self, images, self.ladder[rung].model.launch(images))  # type: ignore[attr-defined]

    def _checked(self, found: object, image: Picture) -> Picture | Results:
        if self.kind is StageKind.RECOGNIZE:
            if isinstance(found, Results):
                if wrong := found.fault(*image.shape[:2]):
                    raise ModelError(f"{self.name}: {wrong}")
                return found
            raise ModelError(f"{self.name}: expected Results, got {type(found).__name__}")
        expected = image.shape[0] * self.enlargement, image.shape[1] * self.enlargement, 3
        if isinstance(found, np.ndarray) and found.shape == expected and found.dtype == np.uint8:
            return found
        got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise ModelError(f"{self.name}: expected a uint8 {expected} picture, got {got}")


@dataclass(frozen=True, slots=True)
class LaunchedStage:
    """A variant at work on a GPU; see `stream.lanes.Launched`."""

    stage: Stage
    images: Sequence[Picture]
    launched: Launched

    def wait(self) -> None:
        self.launched.wait()

    def result(self) -> list[Picture | Results]:
        """Return the checked results, one a picture. Raises ModelError when they break the contract."""
        return self.stage.all_checked(self.launched.result(), self.images)


class Breaker:
    """Leaves a stage out after `ERRORS_TO_OPEN` failures in a row, and lets it try again after a while."""

    def __init__(self) -> None:
        self._failures = 0  # in a row
        self._retry_at_ns: int | None = None  # None while closed

    def is_closed(self, now_ns: int) -> bool:
        """Whether the stage may run now."""
        return self._retry_at_ns is None or now_ns >= self._retry_at_ns

    def succeeded(self) -> None:
        self._failures = 0
        self._retry_at_ns = None

    def failed(self, now_ns: int) -> None:
        self._failures += 1
        if self._failures >= ERRORS_TO_OPEN:
            self._retry_at_ns = now_ns + RETRY_AFTER_NS


def error_text(error: BaseException) -> str:
    """Return what a model raised, in words; our own messages need no name of a class before them."""
    return str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest results of a stage and the capture time of the frame they came from."""

    results: Results
    captured_ns: int


@dataclass(slots=True)
class StageState:
    """What one stream remembers of one stage. Event loop only."""

    stage: Stage
    control: LadderControl = field(init=False)
    ready: int = 1  # variants that are compiled, counted from the best
    preparing: str = ""  # why it cannot run yet, such as being compiled for another size; "" when it can
    latest: Latest | None = None  # None until it has run once
    breaker: Breaker = field(default_factory=Breaker)
    rate: Rate = field(default_factory=Rate)
    runs: int = 0
    reuses: int = 0
    skips: int = 0
    errors: int = 0
    last_error: str | None = None  # None when the last run was fine

    def __post_init__(self) -> None:
        self.control = LadderControl([variant.quality for variant in self.stage.ladder])

    def succeeded(self, now_ns: int, found: Picture | Results, captured_ns: int) -> None:
        """Account for a run that worked; keep results that are newer than the ones known."""
        self.runs += 1
        self.rate.add(now_ns)
        self.breaker.succeeded()
        self.last_error = None
        if isinstance(found, Results) and (self.latest is None or captured_ns > self.latest.captured_ns):
            self.latest = Latest(found, captured_ns)

    def failed(self, now_ns: int, error: BaseException) -> None:
        """Account for a run that raised."""
        self.runs += 1
        self.errors += 1
        self.breaker.failed(now_ns)
        self.last_error = error_text(error)

    def stuck(self, message: str) -> None:
        """Account for a run that does not come back."""
        self.errors += 1
        self.last_error = message

    def age_ns(self, captured_ns: int) -> int | None:
        """Return how much older the newest results are than a frame; None when there are none."""
        return None if self.latest is None else max(0, captured_ns - self.latest.captured_ns)
