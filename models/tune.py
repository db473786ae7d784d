"""Tune a style for a smaller scale: its 990 numbers are fitted until the small painting resembles the full one.

At half the size strokes are twice as wide and thin things are gone. The numbers of the instance norms decide how strong
strokes and edges are, so that much of it can be had back. This is distillation (Hinton et al. 2015, arXiv 1503.02531):
the style at full scale is the teacher, the same style at the smaller scale learns from its paintings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import checkpoint
from models.learn import Progress, descend, row_in, single_style, to_tensor
from models.perceptual import structural_similarity
from models.picture import resize
from models.style import padded
from models.stylefile import Row
from stream.clock import Clock
from stream.frame import Picture

RATE = 0.02  # of Adam; the start is much nearer to the end than when a style is learnt
STEPS_AT_MOST = 120  # 0.528 SSIM before, 0.630 after 50, 0.637 after 100, 0.639 after 150 steps (style 0 at 0.5)


@dataclass(frozen=True, slots=True)
class Task:
    """What is tuned. `paintings` are what the style makes of `pictures` at full scale, of the same size."""

    row: Row
    scale: float
    pictures: Sequence[Picture]
    paintings: Sequence[Picture]
    seconds: float = 60.0
    steps: int = STEPS_AT_MOST
    seed: int = 0
    threads: int = 0


class Tuner:
    """The style at the smaller scale, learning. The same seed, steps and threads give the same numbers."""

    def __init__(self, task: Task) -> None:
        """Start from the style as it is. Raises ModelError when the weights do not fit."""
        if task.threads:
            torch.set_num_threads(task.threads)
        self._task = task
        self._rng = np.random.default_rng(task.seed)
        self.network = single_style(checkpoint.arrays("style"), task.row)

    def learn(self, clock: Clock) -> Iterator[Progress]:
        """Take steps until the time or the number of them is up."""
        yield from descend(self.network, self._loss, self._task, clock, RATE)

    def row(self) -> Row:
        """Return the style's numbers at the smaller scale as they are now."""
        return row_in(self.network)

    def _loss(self) -> Tensor:
        index = int(self._rng.integers(len(self._task.pictures)))
        painted, wanted = self._painted(self._task.pictures[index]), to_tensor(self._task.paintings[index])
        return 1 - structural_similarity(painted, wanted) + (painted - wanted).abs().mean()

    def _painted(self, image: Picture) -> Tensor:
        """Return the painting as models/style.py shows it at the smaller scale, `[1,3,H,W] float 0..1`."""
        height, width = image.shape[:2]
        rows, columns = max(round(height * self._task.scale), 1), max(round(width * self._task.scale), 1)
        painted = self.network(to_tensor(padded(resize(image, rows, columns))), torch.ones(1))
        return F.interpolate(painted[:, :, :rows, :columns], size=(height, width), mode="bilinear")
