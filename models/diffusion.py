"""The generation model `diffusion`: repaint the picture after a prompt, with a diffusion network of one or few steps.

The network is a person's own: a folder, or a hub id that is in the local cache. Made for GPUs; on a CPU a picture takes
seconds. Where the camera shows nearly the same as in the picture painted last, that one is shown again: the similarity
filter of StreamDiffusion (Kodaira et al. 2023, arXiv 2312.12491, section 3.4), here without chance, so that a replay
decides alike.
"""

import importlib.util
import logging
import re
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.base import Card, Kind, Target, run_twice
from models.entry import Entry, Option, Values, described, number, one_of, text, whole_number
from models.live_options import LiveOptions
from models.picture import resize
from stream.errors import ModelError
from stream.frame import Picture

if TYPE_CHECKING:
    from torch import Tensor

    from models.networks.img2img import Loaded

log = logging.getLogger(__name__)

NAME = "diffusion"
MULTIPLE_PX = 8  # a latent pixel
PROMPTS_KEPT = 8  # embeddings kept, so that going back to a prompt costs nothing
NOISES_KEPT = 3  # sizes
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
LOOK_PX, TILES = 64, 4  # the filter compares pictures of this size, tile by tile
REUSED_AT_MOST = 10  # pictures in a row; StreamDiffusion's limit too
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
EXTRA = "pip install 'livelens[diffusion]'"


class SimilarityFilter:
    """Says whether a picture is so like the one painted last that a new one would show nothing new.

    similarity = 2ab / (aa + bb) of the two, which is their cosine where they are equally bright; of the least like
    of 4x4 tiles, since a hand that moves is a small part of a picture. Pure and deterministic.
    """

    def __init__(self, threshold: float) -> None:
        """`threshold` 0..1; at 1 nothing is ever like anything."""
        self.threshold = threshold
        self.reused_in_row = 0
        self._painted: NDArray[np.float32] | None = None  # the look of the picture painted last; None before the first

    def may_reuse(self, image: Picture) -> bool:
        """Return whether the last painting will do for `image`; if not, the caller paints it now."""
        look = _look(image)
        like = self._painted is not None and self.threshold < 1 and similarity(look, self._painted) >= self.threshold
        if like and self.reused_in_row < REUSED_AT_MOST:
            self.reused_in_row += 1
            return True
        self._painted, self.reused_in_row = look, 0
        return False

    def forget(self) -> None:
        """Have the next picture painted: the prompt or the size has changed."""
        self._painted, self.reused_in_row = None, 0


def _look(image: Picture) -> NDArray[np.float32]:
    """Return a picture's luma as `[16 tiles, 256 pixels] float32`, from 1 up: black tiles compare too."""
    small = cv2.resize(image, (LOOK_PX, LOOK_PX), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32) + 1
    side = LOOK_PX // TILES
    return np.asarray(grey.reshape(TILES, side, TILES, side).transpose(0, 2, 1, 3).reshape(TILES * TILES, -1))


def similarity(look: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return how like two looks are, 0..1, by the tile that is least so."""
    return float((2 * (look * other).sum(1) / ((look * look).sum(1) + (other * other).sum(1))).min())


class DiffusionModel:
    """Paints with a loaded network. `painted` and `repeated` count pictures."""

    def __init__(self, card: Card, loaded: "Loaded", target: Target, precision: str, values: Values) -> None:
        """Keep a loaded network; `values` are the resolved options."""
        self.card = card
        self.variant = f"torch {precision}" + ("" if target.device == "cpu" else f" {target.device}")
        self.painted = 0
        self.repeated = 0
        self.live = LiveOptions(NAME, OPTIONS, ("prompt", "strength", "similarity"), values)
        self._loaded: Loaded | None = loaded  # None when closed
        self._device = target.device
        self._steps: int = values["steps"]
        self._seed: int = values["seed"]
        self._size_px: int = values["size"]
        self._filter = SimilarityFilter(values["similarity"])
        self._last: Picture | None = None  # the picture painted last; None before the first
        self._prompts: OrderedDict[str, Tensor] = OrderedDict()  # newest last
        self._noises: OrderedDict[tuple[int, int], Tensor] = OrderedDict()  # by size, newest last
        self._embed(values["prompt"])

    @property
    def live_options(self) -> frozenset[str]:
        """Names of the options that may change while it plays."""
        return self.live.names

    def change(self, **options: str) -> None:
        """Take new values from the next picture on. Lane thread. Raises ModelError; then nothing has changed."""
        values = self.live.read(options)
        self._embed(values["prompt"])
        self._filter.threshold = values["similarity"]
        self._filter.forget()
        self.live.set(values)

    def describe_live(self) -> dict[str, dict[str, Any]]:
        """Return the options that may change, with their values."""
        return self.live.describe()

    def warm(self, height: int, width: int) -> None:
        """Run twice on a black picture of this size."""
        run_twice(self._paint, height, width)
        self._filter.forget()

    def __call__(self, image: Picture) -> Picture:
        """Return the repainted picture, the same shape, read only: it may be given again for the next frames."""
        if self._last is None or self._last.shape != image.shape:
            self._filter.forget()
        if self._filter.may_reuse(image):
            assert self._last is not None
            self.repeated += 1
            return self._last
        self._last = self._paint(image)
        self._last.flags.writeable = False
        self.painted += 1
        return self._last

    def counts(self) -> dict[str, int]:
        """Return how many pictures were painted and shown again."""
        return {"painted": self.painted, "repeated": self.repeated}

    def close(self) -> None:
        """Let go of the network."""
        if self._loaded is not None and self.painted:
            log.info("%s: %d pictures painted, %d shown again", NAME, self.painted, self.repeated)
        self._loaded = None
        self._last = None
        self._prompts.clear()
        self._noises.clear()

    def _paint(self, image: Picture) -> Picture:
        import torch

        if self._loaded is None:
            raise ModelError(f"{self.variant}: called after close")
        height, width = working_size(image.shape[0], image.shape[1], self._size_px)
        small = torch.from_numpy(np.ascontiguousarray(resize(image, height, width))[None]).to(self._device)
        network = self._loaded.network
        strength = float(self.live.values["strength"])
        # evenly from the strength's noise level down
        levels = [round(strength * network.times * (self._steps - i) / self._steps) - 1 for i in range(self._steps)]
        steps = torch.tensor([max(level, 0) for level in levels], device=self._device)
        with torch.inference_mode():
            prompt = self._embed(self.live.values["prompt"])
            painted = network(small, prompt, self._noise(height, width, prompt), steps)
        return resize(np.array(painted[0].cpu().numpy()), *image.shape[:2])

    def _embed(self, prompt: str) -> "Tensor":
        if self._loaded is None:
            raise ModelError(f"{self.variant}: called after close")
        if prompt not in self._prompts:
            self._prompts[prompt] = self._loaded.embed(prompt)
            if len(self._prompts) > PROMPTS_KEPT:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(prompt)
        return self._prompts[prompt]

    def _noise(self, height: int, width: int, like: "Tensor") -> "Tensor":
        """Return the same noise for every picture of a size: another would make the painting tremble."""
        import torch

        if (height, width) not in self._noises:
            assert self._loaded is not None
            shape = (self._steps, *self._loaded.network.latent_shape(height, width))
            chance = torch.Generator().manual_seed(self._seed)  # of the CPU, so that every device paints alike
            self._noises[height, width] = torch.randn(shape, generator=chance).to(like.device, like.dtype)
            if len(self._noises) > NOISES_KEPT:
                self._noises.popitem(last=False)
        return self._noises[height, width]


def working_size(height: int, width: int, longer_px: int) -> tuple[int, int]:
    """Return (height, width) the network works at: the longer side `longer_px`, both multiples of 8, aspect kept."""
    factor = longer_px / max(height, width)
    sides = (max(8, round(side * factor / MULTIPLE_PX)) * MULTIPLE_PX for side in (height, width))
    return next(sides), next(sides)


OPTIONS = (
    Option("model", "network of SD-Turbo's class", "a folder, or a hub id such as stabilityai/sd-turbo", text, None),
    Option("prompt", "what to paint", "text, in double quotes when it has a comma", text, "an oil painting"),
    Option("strength", "how far it may go from the picture", "a number 0.05..1", number(0.05, 1), 0.5),
    Option("steps", "times the network runs for each picture", "a whole number 1..8", whole_number(1, 8), 1),
    Option("seed", "another seed paints another picture", "a whole number", whole_number(0, 2**31 - 1), 0),
    Option(
        "size", "longer side the network works at, in pixels", "a whole number 64..1024", whole_number(64, 1024), 512
    ),
    Option(
        "vae",
        "tiny autoencoder to use instead of the model's own",
        "a folder, or a hub id such as madebyollin/taesd",
        text,
        None,
    ),
    Option("similarity", "show the last painting again when so alike; 1 is never", "a number 0..1", number(0, 1), 0.98),
    Option(
        "precision",
        "number format inside the network; auto is fp16 on a GPU and fp32 on a CPU",
        f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}",
        one_of(*PRECISIONS),
        "auto",
    ),
)


def _check(values: Values) -> None:
    if values["model"] is None:
        raise ModelError(f"{NAME}: say which model, as in {NAME}:model=stabilityai/sd-turbo or {NAME}:model=folder")
    if importlib.util.find_spec("diffusers") is None or importlib.util.find_spec("transformers") is None:
        raise ModelError(f"{NAME}: needs diffusers and transformers, which are not installed: {EXTRA}")
    _check_is_there(values["model"], "model_index.json")
    if values["vae"] is not None:
        _check_is_there(values["vae"], "config.json")


def _open(card: Card, target: Target, values: Values) -> DiffusionModel:
    _check(values)
    import torch

    from models.networks.img2img import DTYPES, load

    if target.device == "cpu" and target.threads > 0:
        torch.set_num_threads(target.threads)
    precision = values["precision"] if values["precision"] != "auto" else default_precision(target.device)
    loaded = load(_place(values["model"]), values["vae"] and _place(values["vae"]), target.device, DTYPES[precision])
    return DiffusionModel(card, loaded, target, precision, values)


def default_precision(device: str) -> str:
    """Return fp16 on a GPU; on a CPU fp32, which every processor takes."""
    return "fp32" if device == "cpu" else "fp16"


def _place(name: str) -> str:
    return str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name


def _check_is_there(name: str, file: str) -> None:
    """Raise ModelError for what is neither a folder with `file` nor in the hub's local cache. Uses no network."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / file).is_file():
            raise ModelError(f"{NAME}: the folder {name} has no {file}; expected one that diffusers saved")
        return
    if not _HUB_ID.fullmatch(name):
        raise ModelError(f"{NAME}: there is no folder {name!r}, and a hub id looks like stabilityai/sd-turbo")
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(name, file), str):
        raise ModelError(
            f"{NAME}: {name} is neither a folder here nor in the hub's cache, and nothing is downloaded while a stream "
            f"starts; fetch it once with `hf download {name}`"
        )


def random_pipeline(size: str = "sd-turbo", device: str = "cpu", precision: str = "auto") -> "Loaded":
    """Return a network of SD-Turbo's shape ("sd-turbo") or a toy ("tiny"), random weights, with a tiny autoencoder.

    For measuring speed, which does not depend on the weights' values. `network(picture, prompt, noise, steps)` is one
    picture; see `models.networks.img2img.Img2Img.forward`. Needs diffusers; "sd-turbo" has 866 million parameters.
    """
    from models.networks.img2img import DTYPES, random_network

    return random_network(size, device, DTYPES[default_precision(device) if precision == "auto" else precision])


def entries() -> tuple[Entry, ...]:
    """Return `diffusion`."""
    card = Card(
        name=NAME,
        kind=Kind.GENERATE,
        summary="repaints after a prompt, with a diffusion network you have; for GPUs",
        licence="that of the network you give",
        origin="your own network, by way of diffusers",
        options=described(OPTIONS),
    )
    return (Entry(card, OPTIONS, _open, _check),)
