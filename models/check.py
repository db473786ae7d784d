"""Compare a model's variants with the reference, torch fp32 of the same name, side by side on the same pictures.

`check` runs them, `models/floors.py` judges, `models/findings.py` keeps what was found, and `models/ladder.py` leaves
out what did not reach its floors.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from models.accuracy import Measure, against_truth, compare, flicker
from models.backends import BY_NAME, missing
from models.base import Kind, Model, Target
from models.contract import guarded
from models.findings import Finding, is_equivalent, versions
from models.floors import FLOORS, below
from models.labelled import Data, Example, open_data
from models.ladder import INT8, LEAST, is_allowed, ladder, measured, spelled, too_unlike
from models.quality import sample_pictures
from models.reference import reference_of
from models.registry import code_of, load, parse
from models.stability import CONDITIONS, Stability, bad_pictures, fault, fitted, headline, judge
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

# Ways to run a network that are looked at when nothing is said, besides what a server would run: those that may be
# faster and may be worse. torch.compile is not among them: compiling anew for each size takes minutes on a processor.
LOOKED_AT: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "cpu": (INT8["cpu"], {"backend": "onnxruntime", "precision": "fp32"}),
    "cuda": (
        {"backend": "torch", "precision": "bf16"},
        {"backend": "cudagraph", "precision": "fp16"},
        {"backend": "tensorrt", "precision": "fp16"},
        INT8["cuda"],
    ),
}
WHILE_CHECKED = {"top": "5", "follow": "off"}  # options that show more, or make pictures independent of each other
LIMIT = 500  # pictures; of more, a point of top-1 is told as well by fewer
PAINTINGS_AT_MOST = 60  # of a generator, whose answers are kept until they are compared: 1 MB each
CLIP_EVERY = 10  # of the sample clip's 360 pictures
SOME = 8  # pictures, evenly spread, that the bad ones are made of
STREET = slice(250, 274)  # successive pictures of the sample clip, of a camera that stands still


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one variant.

    name         as a person types it
    variant      backend and number format; "" when it could not run
    is_lighter   it was given less on purpose, and is judged by its quality
    why_not      why it could not be looked at; "" when it was
    reason       why no ladder takes it; "" when it may be taken
    quality      0..1 against the reference
    median_ms    of one picture
    speed        times as fast as what runs when nothing is said
    """

    name: str
    variant: str = ""
    is_lighter: bool = False
    why_not: str = ""
    reason: str = ""
    measures: tuple[Measure, ...] = ()
    quality: float = 0.0
    median_ms: float = 0.0
    speed: float = 0.0
    stability: tuple[Stability, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A check, whole. The first row is what runs when nothing is said."""

    name: str
    reference: str
    reference_ms: float
    data: str
    rows: tuple[Row, ...]

    @property
    def is_good(self) -> bool:
        """Whether every variant that could be looked at reached its floors."""
        return not any(row.reason for row in self.rows)

    def findings(self) -> list[Finding]:
        """Return what is worth keeping for the ladders."""
        looked_at = [row for row in self.rows if not row.why_not]
        return [Finding(r.name, r.variant, r.reason, r.quality, r.speed, self.data) for r in looked_at]


@dataclass(slots=True)
class _Run:
    """A loaded model and what it answered. `model` is None when it could not be loaded."""

    name: str
    model: Model | None = None
    why_not: str = ""
    answers: list[Any] = field(default_factory=list)  # one for each picture; a ModelError where there is none
    stability: list[Stability] = field(default_factory=list)
    paintings: list[Any] = field(default_factory=list)  # of successive pictures
    costs_ms: list[float] = field(default_factory=list)
    _sizes: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def is_generator(self) -> bool:
        return self.model is not None and self.model.card.kind is Kind.GENERATE

    def answer(self, image: Picture, *, is_timed: bool = True) -> Any:
        """Return the answer to a picture, or a ModelError that says what is wrong with it.

        The first picture of a size is asked twice, so that compiling for it is not timed.
        """
        if is_timed and image.shape not in self._sizes:
            self._sizes.add(image.shape)
            self._ask(image)
        started_ns = time.perf_counter_ns()
        found = self._ask(image)
        if is_timed:
            self.costs_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
        wrong = fault(found, image)
        return ModelError(wrong) if wrong else found

    def _ask(self, image: Picture) -> object:
        assert self.model is not None, "only loaded models are asked"
        try:
            needs = getattr(self.model, "needs", ())
            given = (image, {name: Results() for name in needs}) if needs else (image,)
            return guarded(self.name, self.model, *given)
        except ModelError as error:
            return error


def check(
    name: str,
    where: str = "",
    against: Sequence[str] = (),
    target: Target | None = None,
    kind: Kind | None = None,
    limit: int = LIMIT,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Compare a model with its variants. Takes from seconds to minutes.

    where    data as `open_data` takes it; "" for the sample clip and the pictures that ship
    against  variants by name, or as options such as "precision=int8"; none looks at those of `variants`
    tell     is told (steps done, in all)
    Raises ModelError for a name, data or a reference that cannot be used; what is wrong with a variant is in its row.
    """
    target = target or Target()
    names = variants(name, against, target.device, kind)
    if names == [reference_of(name)]:
        raise ModelError(f"{name}: there is one way to run it, so nothing to compare; name another with --against")
    reference = _load(reference_of(name), target, kind)
    if reference.model is None:
        raise ModelError(
            f"{reference.name} cannot be loaded, and it is what {name} is compared with: {reference.why_not}"
        )
    data = _data(where, reference.model, limit)
    runs = [reference, *(_load(one, target, kind) for one in names)]
    if runs[1].model is None:
        raise ModelError(f"{name} cannot be loaded: {runs[1].why_not}")
    try:
        street = _answer_all(runs, data, tell)
        if wrong := next((str(one) for one in reference.answers if isinstance(one, ModelError)), ""):
            raise ModelError(f"the reference itself gives no sound answer: {wrong}")
        rows = [_row(name, run, reference, data, street) for run in runs[1:]]
    finally:
        for run in runs:
            if run.model is not None:
                run.model.close()
    return Report(name, reference.name, statistics.median(reference.costs_ms), data.text, _with_speed(rows))


def variants(name: str, against: Sequence[str], device: str, kind: Kind | None = None) -> list[str]:
    """Return the names of what is compared with the reference; the model as it is comes first.

    Without `against`: the ways to run it that are here, and the lighter variants of its ladder.
    """
    parsed = parse(name, kind)
    given = dict(parsed.options)
    if against:
        return list(dict.fromkeys([name, *(_meant(name, one, kind) for one in against)]))
    ways = []
    for options in LOOKED_AT.get(device.partition(":")[0], ()):
        wanted = spelled(parsed, {**given, **options})
        is_kept = all(given.get(key, "auto") in ("auto", value) for key, value in options.items())
        is_here = missing(BY_NAME[options["backend"]], device) is None
        if is_kept and is_here and code_of(parsed) is None and is_allowed(wanted):
            ways.append(wanted)
    rungs = measured(name) if code_of(parsed) is None else ladder(name, kind)[1:]
    return list(dict.fromkeys([name, *ways, *(rung.name for rung in rungs if rung.quality >= LEAST)]))


def _meant(name: str, text: str, kind: Kind | None) -> str:
    """Return the name that --against means: a name, or options that are laid over those of the model."""
    own = parse(name, kind)
    if "=" in text.partition(":")[0]:
        wanted = parse(f"{spelled(own, {})}:{text}", kind)
        return spelled(own, {**dict(own.options), **dict(wanted.options)})
    if parse(text, kind).where != own.where:
        raise ModelError(f"--against {text}: expected a variant of {own.where}, got another model")
    return text


def _load(name: str, target: Target, kind: Kind | None) -> _Run:
    try:
        parsed = parse(name, kind)
        options = dict(parsed.options)
        for key, value in WHILE_CHECKED.items():
            more = {key: value, **options}
            if code_of(parsed) is None and is_allowed(spelled(parsed, more)):
                options = more
        return _Run(name, load(spelled(parsed, options), target, kind))
    except ModelError as error:
        return _Run(name, None, str(error))


def _data(where: str, model: Model, limit: int) -> Data:
    """Return the pictures: those a person names, else the sample clip's and, with truth where it fits, ours."""
    is_classifier = "classes" in model.card.gives
    labels = getattr(model, "labels", None) if is_classifier else None
    limit = min(limit, PAINTINGS_AT_MOST) if model.card.kind is Kind.GENERATE else limit
    data = open_data(where, labels, limit)
    if where:
        return data
    clip = tuple(Example(lambda picture=picture: picture) for picture in sample_pictures(CLIP_EVERY))  # type: ignore[misc]
    return Data(f"{len(clip)} pictures of the sample clip, {data.text}", data.examples + clip)


def _answer_all(runs: Sequence[_Run], data: Data, tell: Callable[[int, int], None]) -> Sequence[Picture]:
    """Let every model answer every picture, in turn, so that a busy moment of the machine hits all alike.

    The first run is the reference. Returns the successive pictures that flicker was looked at on.
    """
    there = [run for run in runs if run.model is not None]
    is_generator = there[0].is_generator
    street = sample_pictures(1)[STREET] if is_generator else []
    done, total, some = 0, len(data.examples) + len(CONDITIONS) + len(street), []
    for number, example in enumerate(data.examples):
        image = fitted(example.read()) if is_generator else example.read()
        if number % max(1, len(data.examples) // SOME) == 0:
            some.append(image)
        for place in range(len(there)):
            run = there[(number + place) % len(there)]
            run.answers.append(run.answer(image))
        tell(done := done + 1, total)
    for condition, pictures in bad_pictures(some):
        asked = {run.name: [run.answer(picture, is_timed=False) for picture in pictures] for run in there}
        for run in there:
            run.stability.append(judge(condition.name, pictures, asked[run.name], asked[there[0].name]))
        tell(done := done + 1, total)
    for image in street:
        for run in there:
            run.paintings.append(run.answer(image, is_timed=False))
        tell(done := done + 1, total)
    return street


def _row(name: str, run: _Run, reference: _Run, data: Data, street: Sequence[Picture]) -> Row:
    """Judge one variant."""
    is_lighter = not is_equivalent(run.name, name)
    if run.model is None:
        return Row(run.name, is_lighter=is_lighter, why_not=run.why_not)
    faults = [str(one) for one in (*run.answers, *run.paintings) if isinstance(one, ModelError)]
    faults += [f"{one.condition}: {one.fault}" for one in run.stability if one.fault]
    measures = () if faults else _measures(run, reference, data, street)
    quality = likeness(measures)
    if faults:
        reason = faults[0]
    elif is_lighter:
        reason = too_unlike(quality)
    else:
        reason = below(measures)
    cost_ms = statistics.median(run.costs_ms)
    return Row(
        run.name, run.model.variant, is_lighter, "", reason, measures, quality, cost_ms, 0.0, tuple(run.stability)
    )


def _measures(run: _Run, reference: _Run, data: Data, street: Sequence[Picture]) -> tuple[Measure, ...]:
    measures = compare(run.answers, reference.answers)
    known = [number for number, example in enumerate(data.examples) if example.truth]
    if known:
        pairs = [(run.answers[i], reference.answers[i]) for i in known]
        truths = [data.examples[i].truth for i in known]
        measures = (*against_truth([a for a, _ in pairs], [b for _, b in pairs], truths), *measures)
    of_reference = flicker(reference.paintings, street)
    if of_reference:
        measures = (*measures, Measure("flicker", flicker(run.paintings, street) / of_reference, len(street)))
    return measures


def likeness(measures: Sequence[Measure]) -> float:
    """Return the quality 0..1 that a ladder goes by: SSIM of paintings, else F1, IoU or share of the same answers.

    1 where neither of the two found anything.
    """
    by_name = {measure.name: measure.value for measure in measures}
    first = headline(measures)
    value = by_name.get("ssim", 1.0 if first is None or first.name == "psnr" else first.value)
    return min(1.0, max(0.0, value))


def _with_speed(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with their speed against the first, what runs when nothing is said."""
    first_ms = rows[0].median_ms
    return tuple(replace(row, speed=first_ms / row.median_ms if row.median_ms else 0.0) for row in rows)


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as plain values, with the floors it was judged by and the versions it was made with."""
    return {
        "name": report.name,
        "reference": {"name": report.reference, "median_ms": report.reference_ms},
        "data": report.data,
        "is_good": report.is_good,
        "floors": {name: asdict(floor) for name, floor in FLOORS.items()},
        "versions": versions(),
        "variants": [asdict(row) for row in report.rows],
    }
