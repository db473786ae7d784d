"""Learn one style more for the style network: only the 990 numbers of its instance norms, everything else as it is.

Dumoulin et al. 2016 (arXiv 1610.07629), section 3.3: a trained network takes up a new style when nothing but gamma and
beta are fitted, in a small part of the time. It starts from the built-in style that is nearest to the painting.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models import checkpoint, stylefile
from models.networks.style import STYLES, StyleTransfer
from models.perceptual import Features, Perception, Style, content_loss, total_variation
from models.picture import resize
from models.stylefile import Row
from stream.clock import NS_PER_S, Clock
from stream.errors import ModelError
from stream.frame import Picture

STYLE_WEIGHT = 10.0  # of the style against the content: both are then of about 1.5 at the end
GRAIN_WEIGHT = 0.2  # of total variation; some 2 % of the loss
RATE = 0.05  # of Adam, at its highest; numbers of order 1 change by some tenths
WARMING = 10  # steps until the rate is at its highest
CROP_PX = 224  # what is painted at each step, cut from a picture at the size it is shown in: strokes keep their size
TRIED_PX = 160  # the same where the 26 styles are tried
TRIAL_EVERY = 25  # steps
ALONE = 0.9  # of a step's time on the processor: nobody else wanted the core
STEPS_AT_MOST = 400  # the loss hardly moves after 250
PAINTING_LEAST_PX = 32  # shorter side; less has no texture
PICTURES_HELD_OUT = 4  # never trained on; the losses that are told are theirs


class Limits(Protocol):
    """How long a style may learn; see Lesson."""

    @property
    def seconds(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def threads(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a style is learnt from, and how.

    painting  `[H,W,3] uint8 rgb`
    pictures  what will be painted in it, `[H,W,3] uint8 rgb`, two at least; every fourth is held out
    seconds   how long it may take; steps how many there may be; whichever comes first
    threads   CPU threads; 0 looks now and then whether one or all are quicker, which depends on what else is running.
              They add up in another order, so only a fixed number gives the same numbers again, bit for bit
    size      (height, width) the pictures are shown in: the painting's strokes will have the size that they have
              when the painting itself is shown as large
    """

    painting: Picture
    pictures: Sequence[Picture]
    size: tuple[int, int] = (360, 640)
    seconds: float = 60.0
    steps: int = STEPS_AT_MOST
    seed: int = 0
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Losses:
    """Of pictures that were held out: style 0 is the painting's own; content 0 is the picture itself."""

    style: float
    content: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. `share` 0..1 of the time or the steps; `loss` of the last step's picture."""

    step: int
    share: float
    loss: float
    left_s: float


class Student:
    """The network with a single style that learns. The same seed, steps and threads give the same numbers."""

    def __init__(self, lesson: Lesson) -> None:
        """Prepare, and start from the nearest built-in style. Takes some seconds. Raises ModelError."""
        _check(lesson)
        torch.set_num_threads(lesson.threads or 1)  # 5 s; with two on a machine that others use it took 65
        self._lesson = lesson
        self._rng = np.random.default_rng(lesson.seed)
        self._weights = checkpoint.arrays("style")
        self.network = single_style(self._weights, stylefile.row_of(self._weights, 0))
        self._perception = Perception()
        self._train, self._held_out = _split([resize(one, *_filling(one, lesson.size)) for one in lesson.pictures])
        self._style = Style(self._seen(to_tensor(_at_size(lesson.painting, lesson.size))))
        self.nearest = self._nearest()
        self.network.load_state_dict(_tensors(stylefile.row_of(self._weights, self.nearest)), strict=False)
        self.before = self.losses()
        self.step = 0

    def learn(self, clock: Clock) -> Iterator[Progress]:
        """Take steps until the time or the number of them is up; the row is whole between any two."""
        for progress in descend(self.network, lambda: self._loss(self._crop()), self._lesson, clock):
            self.step = progress.step
            yield progress

    def row(self) -> Row:
        """Return the style's numbers as they are now."""
        return row_in(self.network)

    def losses(self) -> Losses:
        """Return the losses of the middles of the pictures held out."""
        with torch.no_grad():
            both = [self._parts(_middle(one, CROP_PX))[:2] for one in self._held_out]
        style, content = (float(torch.stack(column).mean()) for column in zip(*both, strict=True))
        return Losses(style, content)

    def paint(self, image: Picture) -> Picture:
        """Return a picture as the style paints it now; sides divisible by 4."""
        with torch.no_grad():
            painted = self.network(to_tensor(image), torch.ones(1))[0]
        return np.asarray((painted * 255 + 0.5).permute(1, 2, 0).to(torch.uint8).contiguous().numpy())

    def _nearest(self) -> int:
        """Return the built-in style with the least loss."""
        crops = torch.cat([_middle(one, TRIED_PX) for one in self._held_out[:2]])
        losses = []
        with torch.no_grad():
            for style in range(STYLES):
                self.network.load_state_dict(_tensors(stylefile.row_of(self._weights, style)), strict=False)
                losses.append(float(self._loss(crops)))
        return int(np.argmin(losses))

    def _loss(self, crop: Tensor) -> Tensor:
        style, content, painted = self._parts(crop)
        return STYLE_WEIGHT * style + content + GRAIN_WEIGHT * total_variation(painted)

    def _parts(self, crop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (style loss, content loss, the painting)."""
        painted: Tensor = self.network(crop, torch.ones(1))
        with torch.no_grad():
            original = self._seen(crop)
        features = self._seen(painted)
        return self._style.loss(features), content_loss(features, original), painted

    def _seen(self, x: Tensor) -> Features:
        found: Features = self._perception(x)
        return found

    def _crop(self) -> Tensor:
        image = self._train[self._rng.integers(len(self._train))]
        top, left = (int(self._rng.integers(side - CROP_PX + 1)) for side in image.shape[:2])
        crop = to_tensor(image[top : top + CROP_PX, left : left + CROP_PX])
        return crop.flip(3) if self._rng.random() < 0.5 else crop


def descend(
    network: StyleTransfer, loss_of_step: Callable[[], Tensor], limits: Limits, clock: Clock, rate: float = RATE
) -> Iterator[Progress]:
    """Fit the numbers of a network with one style, until the time or the steps are up; whole between any two steps."""
    numbers = [number for name, number in network.named_parameters() if name in stylefile.SHAPES]
    optimiser = torch.optim.Adam(numbers, lr=rate, betas=(0.9, 0.99))
    started_ns, step, share, threads = clock.now_ns(), 0, 0.0, _Threads(limits.threads)
    while share < 1:
        threads.before(step, clock.now_ns())
        # warm up, then a cosine down to nothing (Loshchilov and Hutter 2017, arXiv 1608.03983)
        now = rate * min(1, (step + 1) / WARMING) * (0.5 + 0.5 * math.cos(math.pi * share))
        optimiser.param_groups[0]["lr"] = now
        loss = loss_of_step()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        passed_s = (clock.now_ns() - started_ns) / NS_PER_S
        share = min(1.0, max(step / limits.steps, passed_s / limits.seconds))
        yield Progress(step, share, float(loss.detach()), passed_s * (1 / share - 1))


class _Threads:
    """Finds out whether one thread or all are quicker.

    On a busy machine threads wait for each other, busily: single steps of 19 s instead of 0.2 s were seen. So all are
    tried only after a step in which the one thread had a core to itself.
    """

    def __init__(self, fixed: int, cpu_ns: Callable[[], int] = time.process_time_ns) -> None:
        self._fixed = fixed
        self._cpu_ns = cpu_ns
        self._started = (0, 0)  # the step before: when, and the processor time until then
        self._one_ns = 0  # how long a step took with one thread

    def before(self, step: int, now_ns: int) -> None:
        """Set the number of threads for a step; the first two of every TRIAL_EVERY are the trial."""
        index, cpu_ns = step % TRIAL_EVERY, self._cpu_ns()
        took_ns, worked_ns = now_ns - self._started[0], cpu_ns - self._started[1]
        self._started = now_ns, cpu_ns
        if self._fixed:
            torch.set_num_threads(self._fixed)
        elif index == 0:
            torch.set_num_threads(1)
        elif index == 1:
            self._one_ns = took_ns
            torch.set_num_threads((os.cpu_count() or 1) if worked_ns > ALONE * took_ns else 1)
        elif index == 2 and took_ns > self._one_ns:
            torch.set_num_threads(1)


def single_style(weights: Row, row: Row) -> StyleTransfer:
    """Return the network with one style, of which only the norms take gradients."""
    network = StyleTransfer(1)
    rest = {key: torch.from_numpy(value) for key, value in weights.items() if key not in stylefile.SHAPES}
    network.load_state_dict(rest | _tensors(row), strict=True)
    for name, number in network.named_parameters():
        number.requires_grad_(name in stylefile.SHAPES)
    return network.eval()


def row_in(network: StyleTransfer) -> Row:
    """Return the numbers of the only style of a network."""
    found = network.state_dict()
    return {key: found[key][0].numpy().copy() for key in stylefile.SHAPES}


def to_tensor(image: Picture) -> Tensor:
    """Return `[1,3,H,W] float 0..1` from `[H,W,3] uint8`."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


def _check(lesson: Lesson) -> None:
    for what, one in (("the painting", lesson.painting), *(("a picture", p) for p in lesson.pictures)):
        if min(one.shape[:2]) < PAINTING_LEAST_PX:
            raise ModelError(
                f"{what} has {one.shape[1]}x{one.shape[0]} pixels; expected {PAINTING_LEAST_PX} a side at least"
            )
    if len(lesson.pictures) < 2:
        raise ModelError(f"expected two pictures to paint at least, one to hold out, got {len(lesson.pictures)}")


def _tensors(row: Row) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value.copy())[None] for key, value in row.items()}


def _split(pictures: list[Picture]) -> tuple[list[Picture], list[Picture]]:
    """Return (those to train on, those held out)."""
    every = max(len(pictures) // PICTURES_HELD_OUT, 2)
    held_out = pictures[every // 2 :: every][:PICTURES_HELD_OUT]
    return [one for one in pictures if not any(one is other for other in held_out)], held_out


def _filling(image: Picture, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) that a picture has when it covers `size`, and the crops that are cut from it."""
    by = max(max(size[0], CROP_PX) / image.shape[0], max(size[1], CROP_PX) / image.shape[1])
    return max(round(image.shape[0] * by), CROP_PX), max(round(image.shape[1] * by), CROP_PX)


def _at_size(painting: Picture, size: tuple[int, int]) -> Picture:
    """Return the painting with as many pixels as `size` has, whatever its shape."""
    by = math.sqrt(size[0] * size[1] / (painting.shape[0] * painting.shape[1]))
    return resize(painting, *(max(round(side * by), PAINTING_LEAST_PX) for side in painting.shape[:2]))


def _middle(image: Picture, side: int) -> Tensor:
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return to_tensor(image[top : top + side, left : left + side])
