"""torchvision's networks with weights from a file: where the file is, and how it gets into the network.

Nothing is downloaded here. A file that is not there is an error that names the command that fetches it.
"""

import hashlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from models.checkpoint import load_file
from models.runner import Network
from models.torchvision_names import DETECTION, SEGMENTATION
from stream.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

FAMILY = "torchvision/"
DEFAULT = "DEFAULT"
_building = threading.Lock()  # see `_built`
_NAMED_AT_MOST = 3  # keys shown in a message


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of one network: torchvision's description of them, and the file they are in.

    url     where torchvision has them
    folder  where torch keeps what it has fetched
    entry   torchvision's own (a member of a WeightsEnum): categories, sizes, mean and deviation
    """

    url: str
    folder: Path
    file: Path
    entry: Any


def weights_of(name: str, which: str = DEFAULT) -> Weights:
    """Return the weights of network `name`: `which` is torchvision's name for a set of them, or a file.

    Imports torchvision (seconds). Raises ModelError for a network or a set that the one installed does not have.
    """
    import torch
    from torchvision.models import get_model_weights

    try:
        sets = get_model_weights(name)
    except ValueError as error:
        import torchvision

        raise ModelError(f"torchvision {torchvision.__version__} has no network {name!r}; a newer one may") from error
    is_file = _is_file_name(which)
    if not is_file and which not in sets.__members__:
        raise ModelError(f"{FAMILY}{name}: no weights {which!r}; there are {', '.join(sets.__members__)}, or a file")
    entry = sets[DEFAULT if is_file else which]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    kept = folder / entry.url.rpartition("/")[2]
    return Weights(entry.url, folder, Path(which).expanduser() if is_file else kept, entry)


def read_weights(text: str) -> str:
    """Return the name of a set of weights, or of a file that is there. Raises ValueError otherwise."""
    if _is_file_name(text) and not Path(text).expanduser().is_file():
        raise ValueError(text)
    if not text:
        raise ValueError(text)
    return text


def _is_file_name(text: str) -> bool:
    return re.fullmatch(r"[A-Z][A-Z0-9_]*", text) is None


@dataclass(frozen=True, slots=True)
class TorchvisionNetwork(Network):
    """A network of torchvision's. `name` is torchvision's; the graph is one of models/networks/torchvision_graphs.py.

    weights  where the numbers come from; the file is read when the network is built
    wanted   classes that a segmentation network makes its mask of
    score    least score of a detection
    size_px  shorter side that a detection network scales the picture to; 0 leaves its own
    """

    weights: Weights | None = None
    wanted: tuple[int, ...] = ()
    score: float = 0.0
    size_px: int = 0

    def build(self) -> "nn.Module":
        """Return the torch module with its weights. Takes seconds. Raises ModelError when they are not there."""
        from models.networks import torchvision_graphs as graphs

        assert self.weights is not None
        network = _built(self.name, self.weights)
        if self.name in DETECTION:
            _set_size(self.name, network, self.size_px)
            return graphs.DetectorOfPicture(network, self.score).eval()
        preset = self.weights.entry.transforms()
        if self.name in SEGMENTATION:
            return graphs.SegmenterOfPicture(network, preset.mean, preset.std, list(self.wanted)).eval()
        return graphs.ClassifierOfPicture(network, preset.mean, preset.std).eval()

    def version(self) -> str:
        """Return what tells this graph from others: the file by its name, size and time, and what it is made into."""
        import torchvision

        assert self.weights is not None
        file = existing(self.name, self.weights)
        state = file.stat()
        source = Path(__file__).parent / "networks" / "torchvision_graphs.py"
        parts = (self.name, self.weights.entry, file.resolve(), state.st_size, state.st_mtime_ns, self.wanted)
        text = f"{torchvision.__version__} {parts} {self.score} {self.size_px}"
        return hashlib.sha256(text.encode() + source.read_bytes()).hexdigest()


def existing(name: str, weights: Weights) -> Path:
    """Return the file. Raises ModelError with the command that fetches it."""
    if weights.file.is_file():
        return weights.file
    which = "" if weights.entry.name == type(weights.entry)[DEFAULT].name else f":weights={weights.entry.name}"
    size = f"{weights.entry.meta.get('_file_size', 0):.0f} MB"
    raise ModelError(
        f"{FAMILY}{name}: its weights are not here ({weights.file}, {size}); fetch them with "
        f"`livelens models pull {FAMILY}{name}{which}`, or give a file: weights=PATH"
    )


def _built(name: str, weights: Weights) -> "nn.Module":
    """Return torchvision's network with the file's numbers.

    torchvision's own builders know what each set of weights needs (auxiliary heads, frozen batch norms, an epsilon,
    renamed keys), so they are asked to build with the set, and given the file's numbers in place of a download.
    """
    from torchvision.models import get_model

    tensors = load_file(existing(name, weights))
    own = type(weights.entry)
    with _building, patch.object(own, "get_state_dict", lambda self, *args, **kwargs: dict(tensors)):
        try:
            network: nn.Module = get_model(name, weights=weights.entry)
        except RuntimeError as error:
            raise ModelError(f"{weights.file} does not fit {FAMILY}{name}: {_first_keys(error)}") from error
    return network.eval()


def _first_keys(error: RuntimeError) -> str:
    """Return torch's account of keys that do not fit, shortened to one line."""
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    shown = [f"{line.rstrip('.'):.160}" for line in lines[:_NAMED_AT_MOST]] or [str(error).splitlines()[0]]
    more = f" and {len(lines) - _NAMED_AT_MOST} more" if len(lines) > _NAMED_AT_MOST else ""
    return "; ".join(shown) + more


def _set_size(name: str, network: Any, size_px: int) -> None:
    """Let a detection network scale pictures to another size than its own."""
    if not size_px:
        return
    scaling = network.transform
    if getattr(scaling, "fixed_size", None) is not None:
        raise ModelError(f"{FAMILY}{name}: size={size_px} is not possible, it takes {scaling.fixed_size[0]} px only")
    longest = max(scaling.max_size * size_px // min(scaling.min_size), size_px)
    scaling.min_size, scaling.max_size = (size_px,), longest
