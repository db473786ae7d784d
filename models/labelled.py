"""Pictures whose truth is known: those that come with Livelens, a labelled folder, or CIFAR-10; and plain folders.

A labelled folder has a folder for each category (torchvision's ImageFolder), named by a label of the network, a synonym
of it, its WordNet id or its number; labels that are all right for a picture are joined by +, as in `tabby+tiger_cat`.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from models.picture import read_picture as read_file
from models.picture import resize
from stream.errors import ModelError
from stream.frame import Picture

T = TypeVar("T")

DATA = Path(__file__).parent / "data"
SHIPPED = DATA / "labelled"
LARGEST_PX = 1280  # longer side of a picture that is looked at; larger ones are decoded reduced
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
CIFAR = "cifar10:"
_NAMED_AT_MOST = 5  # unknown folders listed in a message


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


# CIFAR-10's classes as ImageNet's categories, by number. ImageNet has no deer: antelopes stand in for them. CIFAR's
# cars are no pickups, and its trucks big ones (Krizhevsky, "Learning Multiple Layers of Features", 2009, appendix A).
CIFAR_GROUPS: Mapping[str, tuple[int, ...]] = {
    "airplane": (404, 895),
    "automobile": (436, 468, 511, 609, 627, 656, 661, 751, 817),
    "bird": (*_span(7, 24), *_span(80, 100), *_span(127, 146)),
    "cat": _span(281, 285),
    "deer": (351, 352, 353),
    "dog": _span(151, 268),
    "frog": (30, 31, 32),
    "horse": (339,),
    "ship": (403, 484, 510, 554, 625, 628, 724, 780, 814, 871, 914),
    "truck": (555, 569, 675, 864, 867),
}


@dataclass(frozen=True, slots=True)
class Example:
    """A picture and what is right for it. `read` may block; raises ModelError for what is no picture."""

    read: Callable[[], Picture]
    truth: frozenset[str] = frozenset()  # labels of the network; empty where it is not known


@dataclass(frozen=True, slots=True)
class Data:
    """Pictures to look at, and in words what they are."""

    text: str
    examples: tuple[Example, ...]

    @property
    def has_truth(self) -> bool:
        return bool(self.examples) and all(example.truth for example in self.examples)


def open_data(where: str, labels: Sequence[str] | None, limit: int) -> Data:
    """Return the data that a person names: a folder, `cifar10:FOLDER`, or "" for the pictures that ship.

    labels  the network's, by number; None when it gives none, and any folder of pictures will do
    limit   pictures at most, spread evenly over what is there
    Raises ModelError: nothing there, one class only, a folder that names no label.
    """
    if where.startswith(CIFAR):
        if labels is None:
            raise ModelError(f"{where}: has labels, and this model gives none; give --data a folder of pictures")
        return _cifar10(where, labels, limit)
    if labels is None:
        return _plain(Path(where) if where else SHIPPED, limit)
    return _labelled(Path(where) if where else SHIPPED, labels, limit)


def read_picture(path: Path) -> Picture:
    """Return a picture upright, `[H,W,3] uint8 rgb`, at most LARGEST_PX wide and high. Raises ModelError."""
    picture = read_file(f"{path.parent}: expected pictures", str(path), (LARGEST_PX, LARGEST_PX))
    scale = min(1.0, LARGEST_PX / max(picture.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return resize(picture, height, width)


def _plain(root: Path, limit: int) -> Data:
    """Return every picture in a folder and below."""
    if not root.is_dir():
        raise ModelError(f"--data {root}: expected a folder of pictures, found no folder")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and not _is_hidden(path, root))
    if not paths:
        raise ModelError(f"--data {root}: expected a folder of pictures ({', '.join(SUFFIXES)}), found none")
    kept = _spread(paths, limit)
    return Data(_text(root, len(kept)), tuple(Example(partial(read_picture, path)) for path in kept))


def _labelled(root: Path, labels: Sequence[str], limit: int) -> Data:
    if not root.is_dir():
        raise ModelError(f"--data {root}: expected a folder with a folder of pictures for each category, found none")
    found = _by_folder(root)
    truths = truths_of([name for name, _ in found], labels, f"--data {root}")
    if len(set(truths.values())) < 2:
        only = ", ".join(dict.fromkeys(name for name, _ in found)) or "none"
        raise ModelError(
            f"--data {root}: expected folders of at least two categories, got {only}: "
            "top-1 over one category says nothing, a network that always answers the same would be right"
        )
    kept = _spread(found, limit)
    return Data(_text(root, len(kept)), tuple(Example(partial(read_picture, p), truths[name]) for name, p in kept))


def _by_folder(root: Path) -> list[tuple[str, Path]]:
    """Return (category's folder, picture) as torchvision's ImageFolder finds them; hidden folders are none."""
    from torchvision.datasets.folder import make_dataset  # late: it imports torch

    names = sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))
    if not names:
        return []
    numbers = {name: number for number, name in enumerate(names)}
    found = make_dataset(str(root), numbers, extensions=SUFFIXES, allow_empty=True)
    return [(names[number], Path(path)) for path, number in found]


def _cifar10(where: str, labels: Sequence[str], limit: int) -> Data:
    """Return the test pictures of a local CIFAR-10, 32x32; nothing is fetched."""
    from torchvision.datasets import CIFAR10

    root = where.removeprefix(CIFAR)
    try:
        data = CIFAR10(root, train=False, download=False)  # checks the files' MD5 before it reads them
    except (RuntimeError, OSError) as error:
        raise ModelError(
            f"{where}: expected torchvision's CIFAR10 root, with the folder cifar-10-batches-py in it ({error})"
        ) from error
    known = {name: frozenset(labels[i] for i in CIFAR_GROUPS[name] if i < len(labels)) for name in data.classes}
    rows = _spread(list(zip(data.data, data.targets, strict=True)), limit)
    examples = tuple(Example(partial(np.array, pixels), known[data.classes[target]]) for pixels, target in rows)
    return Data(f"{len(examples)} pictures of CIFAR-10's test set, 32x32", examples)


def truths_of(folders: Iterable[str], labels: Sequence[str], where: str) -> dict[str, frozenset[str]]:
    """Return the right labels for each folder's name. Raises ModelError that lists those that name no label."""
    words = _words(tuple(labels))
    truths: dict[str, frozenset[str]] = {}
    unknown: list[str] = []
    for folder in dict.fromkeys(folders):
        named = [words.get(normal(part), frozenset()) for part in folder.split("+")]
        if all(len(one) == 1 for one in named):
            truths[folder] = frozenset(label for one in named for label in one)
        else:
            unknown.append(_unknown(folder, words))
    if unknown:
        more = f" and {len(unknown) - _NAMED_AT_MOST} more" if len(unknown) > _NAMED_AT_MOST else ""
        raise ModelError(
            f"{where}: folders that name no category of the network: {', '.join(unknown[:_NAMED_AT_MOST])}{more}; name "
            "a folder by a label (espresso), a synonym, a WordNet id (n07920052) or a number (967)"
        )
    return truths


def _unknown(folder: str, words: Mapping[str, frozenset[str]]) -> str:
    several = [label for part in folder.split("+") for label in sorted(words.get(normal(part), ()))]
    if len(several) > 1:
        return f"{folder!r} (is it {' or '.join(several)}?)"
    near = get_close_matches(normal(folder), words, 1, 0.7)
    return f"{folder!r} (did you mean {near[0]}?)" if near else repr(folder)


@cache
def _words(labels: tuple[str, ...]) -> dict[str, frozenset[str]]:
    """Return every word, id and number that names a label; a word of several categories has several."""
    words: dict[str, frozenset[str]] = {}
    if labels == _imagenet():
        for label, line in zip(labels, (DATA / "imagenet_synsets.txt").read_text("utf-8").splitlines(), strict=True):
            synset, _, synonyms = line.partition("\t")
            for word in (synset, *synonyms.split(",")):
                words[normal(word)] = words.get(normal(word), frozenset()) | {label}
    return words | {str(n): frozenset({x}) for n, x in enumerate(labels)} | {normal(x): frozenset({x}) for x in labels}


def _imagenet() -> tuple[str, ...]:
    from models.checkpoint import labels

    return labels("imagenet")


def normal(word: str) -> str:
    """Return a name so that `Egyptian_cat`, `egyptian-cat` and `Egyptian cat` are the same."""
    return " ".join(word.lower().replace("_", " ").replace("-", " ").split())


def _spread(items: Sequence[T], limit: int) -> list[T]:
    """Return `limit` of the items at most, evenly spread over them."""
    if len(items) <= limit:
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _text(root: Path, count: int) -> str:
    return f"{count} photographs that come with Livelens" if root == SHIPPED else f"{count} pictures of {root}"
