"""The same number for the same object from picture to picture: ByteTrack around any model that gives boxes.

    boxes/coco:track=on     faces:track=on     path/file.py:Name:track=on

Boxes that are sure start a track and keep it going; boxes half as sure only keep going one that is there already, which
carries people past lamp posts (ByteTrack, arXiv 2110.06864; the package is `trackers`). Given are boxes that are
followed, so one appears with the second picture that shows it.
"""

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.entry import Entry, Option, Values, described, one_of
from stream.clock import NS_PER_S, Clock, MonotonicClock
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

if TYPE_CHECKING:
    from trackers import ByteTrackTracker

KEEP_PICTURES = 30  # a lost object keeps its number for so many pictures; the method's own setting
LEAST_IOU = 0.1  # of a box with where it is expected; the method's own setting, and no worse than 0.2 or 0.3 here
LEAST_PICTURES = 2  # that show an object before it is followed: one alone is often a mistake of the detector
UNSURE = 0.5  # of the score that a box must have: what keeps a track going
SURE_WITHIN = (
    10  # pictures: an unsure box is given so long after a sure one; a cone that once looked like a person is not
)
GAP_NS = 2 * NS_PER_S  # without a picture: whoever is there then may be somebody else
TRACK = Option(
    "track", "gives an object the same number from picture to picture", "on or off", one_of("on", "off"), "off"
)


class Tracker:
    """What is followed in one stream. Numbers start at 1 and are never given twice, also after a reset.

    Safe to call from several threads: variants of one model share it.
    """

    def __init__(self, score: float, clock: Clock | None = None) -> None:
        """Follow boxes; one of at least `score` may start a track. Imports the package (a second)."""
        self._score = score
        self._clock = clock or MonotonicClock()
        self._lock = threading.Lock()
        self._size = (0, 0)  # height and width of the pictures followed
        self._last_ns: int | None = None  # when the last picture came; None before the first
        self._used = 0  # the highest number given
        self._base = 0  # added to the package's numbers, which start at 0 after each reset
        self._picture = 0  # counts the pictures followed
        self._sure_at: dict[int, int] = {}  # the package's number -> the last picture whose box was sure
        self._bytetrack = self._new()

    def follow(self, found: Results, height: int, width: int) -> Results:
        """Return the boxes that are followed, in the order given, with their `track_ids`.

        Starts over when the picture's size changes, and after two seconds without a picture.
        """
        with self._lock:
            self._start_over_if_needed(height, width)
            detections = found.to_supervision()
            detections.data["index"] = np.arange(len(found.boxes))
            followed: Any = self._bytetrack.update(detections)
            numbers = np.full(len(found.boxes), -1, np.int64)
            if len(followed):
                numbers[followed.data["index"]] = followed.tracker_id
            kept = np.flatnonzero(self._is_given(numbers, found))
            track_ids = numbers[kept] + self._base + 1
            self._used = max(self._used, int(track_ids.max(initial=0)))
        return _only(found, kept, track_ids)

    def _is_given(self, numbers: NDArray[np.int64], found: Results) -> NDArray[np.bool_]:
        """Return which boxes are followed, and were sure lately."""
        self._picture += 1
        self._sure_at.update((int(number), self._picture) for number in numbers[found.scores >= self._score])
        oldest = self._picture - SURE_WITHIN
        self._sure_at = {number: picture for number, picture in self._sure_at.items() if picture > oldest}
        return np.array([number >= 0 and int(number) in self._sure_at for number in numbers], bool)

    def _start_over_if_needed(self, height: int, width: int) -> None:
        now_ns = self._clock.now_ns()
        is_gap = self._last_ns is not None and now_ns - self._last_ns > GAP_NS
        if is_gap or self._size != (height, width):
            self._bytetrack, self._base, self._size = self._new(), self._used, (height, width)
            self._sure_at.clear()
        self._last_ns = now_ns

    def _new(self) -> "ByteTrackTracker":
        try:
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise ModelError("track=on needs the package trackers: pip install trackers") from error

        return ByteTrackTracker(
            lost_track_buffer=KEEP_PICTURES,
            track_activation_threshold=self._score,
            high_conf_det_threshold=self._score,
            minimum_consecutive_frames=LEAST_PICTURES,
            minimum_iou_threshold=LEAST_IOU,
        )


def _only(found: Results, kept: Any, track_ids: Any) -> Results:
    """Return the boxes `kept`; keypoints go with them where there is a set for each box."""
    keypoints = found.keypoints
    if keypoints is not None and len(keypoints) == len(found.boxes):
        keypoints = keypoints[kept]
    return replace(
        found,
        boxes=found.boxes[kept],
        scores=found.scores[kept],
        class_ids=found.class_ids[kept],
        labels=tuple(found.labels[i] for i in kept),
        keypoints=keypoints,
        track_ids=track_ids,
    )


class TrackedModel:
    """A model whose boxes are followed."""

    def __init__(self, model: Model, tracker: Tracker) -> None:
        """Wrap a loaded model. `tracker` may be replaced by that of another variant of the same stream's model."""
        self.card = model.card
        self.variant = model.variant
        self.needs: tuple[str, ...] = tuple(getattr(model, "needs", ()))
        self.tracker = tracker
        self._model = model

    def warm(self, height: int, width: int) -> None:
        """Warm the model; nothing is followed."""
        self._model.warm(height, width)

    def __call__(self, image: Picture, *results: Any) -> Results:
        """Return what the model finds, as far as it is followed. Raises what the model raises."""
        found = self._model(image, *results)
        if not isinstance(found, Results):
            raise ModelError(f"{self.card.name}: track=on expects Results with boxes, got {type(found).__name__}")
        return self.tracker.follow(found, *image.shape[:2])

    def close(self) -> None:
        """Close the model."""
        self._model.close()


def trackable(entry: Entry) -> Entry:
    """Return the entry with the option `track` when its model gives boxes."""
    if "boxes" not in entry.card.gives or any(option.name == TRACK.name for option in entry.options):
        return entry
    options = (*entry.options, TRACK)
    return replace(entry, options=options, card=replace(entry.card, options=described(options)), open=_opener(entry))


def _opener(entry: Entry) -> Any:
    """Return `entry.open` that heeds `track=on`: the model then also gives boxes that are half as sure."""

    def open_tracked(card: Any, target: Any, values: Values) -> Model:
        if values[TRACK.name] != "on":
            return entry.open(card, target, values)
        score = float(values.get("score", 0.0))
        return TrackedModel(entry.open(card, target, values | {"score": score * UNSURE}), Tracker(score))

    return open_tracked


def share_tracker(best: Model, lighter: Model) -> None:
    """Let two variants of one stream's model follow together, so that a change of variant keeps the numbers."""
    if isinstance(best, TrackedModel) and isinstance(lighter, TrackedModel):
        lighter.tracker = best.tracker
