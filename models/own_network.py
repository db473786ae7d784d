"""A network in a file of your own, run by every backend that ours are run by: docs/add-a-network.md has the walk."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.contract import guarded
from models.runner import Network
from stream.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class OwnNetwork(Network):
    """`Network(name, example)` whose torch module comes from a function.

    make   returns the module with its weights; called only when no converted graph of it is kept
    files  what the module is made of, its source and its weights: when one changes, it is converted again
    """

    make: "Callable[[], nn.Module] | None" = None
    files: tuple[str | Path, ...] = ()

    def build(self) -> "nn.Module":
        """Return the torch module, ready to run. Raises ModelError for whatever the function raises."""
        from torch import nn

        if self.make is None:
            raise ModelError(f"{self.name}: say which function makes the network: make=...")
        module = guarded(f"{self.name}: making it", self.make)
        if not isinstance(module, nn.Module):
            raise ModelError(f"{self.name}: expected a torch.nn.Module, got {type(module).__name__}")
        return module.eval()

    def version(self) -> str:
        """Return a digest of the files. Raises ModelError when one is not there, or none is named."""
        if not self.files:
            raise ModelError(f"{self.name}: name the files it is made of, such as files=(__file__,)")
        digest = hashlib.sha256(self.name.encode())
        for file in self.files:
            path = Path(file)
            if not path.is_file():
                raise ModelError(f"{self.name}: no file {path}")
            digest.update(path.read_bytes())
        return digest.hexdigest()
