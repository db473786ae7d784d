"""A person's own model: a class or function in a file or module, wrapped so that it keeps the contract.

    path/file.py:Name   package.module:name   either with :key=value,... behind

A class is made with the options as text, `Name(key="value")`. A function that must be given something
(`def blur(image)`) is itself the model, and options are passed along with each picture. A function that need not
(`def create(size="3")`) is a factory: it is called once with the options and returns the model. A class or factory
with a parameter `target` is given the models.base.Target. The model is called with `[H,W,3] uint8 rgb`; what it may
return is in contract.py. Where it has `warm(height, width)`, `close()`, `gives` or `max_age_ms`, they are used.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from models.base import Card, Kind, Target
from models.contract import guarded, to_picture, to_results
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

_importing = threading.RLock()  # models are loaded on several threads, and two may be in one file
DEFAULT_GIVES = frozenset({"boxes"})
DEFAULT_MAX_AGE_MS = 200.0  # of a recogniser that does not say: about six frames at 30 fps


class UserModel:
    """Calls a person's model and checks what it returns."""

    def __init__(self, card: Card, call: Callable[[Picture], object]) -> None:
        """Keep `call`, the model itself."""
        self.card = card
        self.variant = str(getattr(call, "variant", "own code"))
        self.needs = tuple(getattr(call, "needs", ()))  # names of stages whose results it is given as well
        self.live_options = frozenset(getattr(call, "live_options", ()))  # which `change(name=text)` may change
        self._call: Any = call

    def change(self, **options: str) -> None:
        """Let the model take new values for some of its live options, between two pictures. Raises ModelError."""
        guarded(f"{self.card.name}: change({', '.join(options)})", self._call.change, **options)

    def warm(self, height: int, width: int) -> None:
        """Let the model warm up, then run it on a black picture, so that a broken contract shows before the start."""
        warm = getattr(self._call, "warm", None)
        if callable(warm):
            guarded(f"{self.card.name}: warm({height}, {width})", warm, height, width)
        black = np.zeros((height, width, 3), np.uint8)
        self(black, {name: Results() for name in self.needs} if self.needs else None)

    def __call__(self, image: Picture, results: Mapping[str, Results] | None = None) -> Picture | Results:
        """Return the picture or the results, converted and checked. Raises ModelError for anything else.

        The model gets a picture of its own: people paint on it, and others look at the frame at the same time.
        """
        given = (image.copy(),) if results is None else (image.copy(), results)
        value = guarded(self.card.name, self._call, *given)
        if self.card.kind is Kind.GENERATE:
            return guarded(self.card.name, to_picture, value, image, self.card.name)
        return guarded(self.card.name, to_results, value, *image.shape[:2], self.card.name)

    def close(self) -> None:
        """Close the model where it can be closed."""
        close = getattr(self._call, "close", None)
        if callable(close):
            guarded(f"{self.card.name}: close()", close)


def open_user_model(
    name: str, where: str, attribute: str, options: Mapping[str, str], target: Target, kind: Kind
) -> UserModel:
    """Import `attribute` from `where` (a file ending in .py, or a module) and wrap it. Raises ModelError."""
    found = find(name, where, attribute)
    call = _make(name, found, dict(options), target)
    own_card = getattr(call, "card", None)
    if isinstance(own_card, Card):
        if own_card.kind is not kind:
            raise ModelError(f"{name} is made for --{own_card.kind}, not for --{kind}")
        return UserModel(own_card, call)
    is_recognizer = kind is Kind.RECOGNIZE
    card = Card(
        name=name,
        kind=kind,
        summary=(inspect.getdoc(found) or "your own model").splitlines()[0],
        licence="your own",
        origin=where,
        gives=frozenset(getattr(call, "gives", DEFAULT_GIVES)) if is_recognizer else frozenset(),
        max_age_ms=float(getattr(call, "max_age_ms", DEFAULT_MAX_AGE_MS)) if is_recognizer else 0.0,
    )
    return UserModel(card, call)


def check_exists(name: str, where: str) -> None:
    """Raise ModelError when the file or the top-level package is not there. Imports nothing."""
    if where.endswith(".py"):
        if not Path(where).is_file():
            raise ModelError(f"{name}: no file {where} (looked in {Path(where).absolute().parent})")
        return
    _allow_working_directory()
    package = where.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise ModelError(f"{name}: no module {package!r}; install it, or run in its folder (this is {os.getcwd()})")


def check_defines(name: str, where: str, attribute: str) -> None:
    """Raise ModelError when a file plainly does not define `attribute`. Reads the file, runs nothing of it."""
    try:
        tree = ast.parse(Path(where).read_text("utf-8"), where)
    except (SyntaxError, ValueError) as error:
        raise ModelError(f"{name}: {where} is not Python source: {error}") from error
    bound, own = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
            own += [node.name] if node in tree.body and not node.name.startswith("_") else []
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if "*" not in bound and "__getattr__" not in bound and attribute.partition(".")[0] not in bound:
        raise ModelError(
            f"{name}: {where} has no {attribute!r}; it has {', '.join(sorted(own)) or 'no class or function'}"
        )


def find(name: str, where: str, attribute: str) -> Any:
    """Import `where` and return the class or function `attribute` of it. Raises ModelError."""
    check_exists(name, where)
    importer = _import_file if where.endswith(".py") else importlib.import_module
    found: Any = guarded(f"{name}: importing {where}", importer, where)
    for part in attribute.split("."):
        if not hasattr(found, part):
            offered = ", ".join(sorted(key for key in vars(found) if not key.startswith("_"))) or "nothing"
            raise ModelError(f"{name}: {where} has no {attribute!r}; it has {offered:.300}")
        found = getattr(found, part)
    if not callable(found):
        raise ModelError(f"{name}: expected a class or function, got {type(found).__name__}")
    return found


def _import_file(path: str) -> ModuleType:
    """Run the file once per process; files beside it can be imported from it, as when it is run by itself."""
    file = Path(path).resolve()
    module_name = f"livelens_file_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    with _importing:
        return _import_once(file, module_name)


def _import_once(file: Path, module_name: str) -> ModuleType:
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not Python source")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs: dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _allow_working_directory() -> None:
    """Let `package.module:name` be found in the working directory, as with `python -m`."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())


def _make(name: str, found: Any, options: dict[str, str], target: Target) -> Callable[[Picture], object]:
    """Return the model: an instance of a class, what a factory returns, or the function itself."""
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):  # some callables written in C do not tell
        parameters = inspect.signature(lambda **options: None).parameters
    _check_options(name, parameters, options)
    is_function = inspect.isroutine(found) or not inspect.isclass(found)
    if is_function and any(_must_be_given(p) and p.name != "target" for p in parameters.values()):
        return partial(found, **options) if options else found
    given: dict[str, Any] = {**options, **({"target": target} if "target" in parameters else {})}
    made = guarded(f"{name}: making it", found, **given)
    if not callable(made):
        raise ModelError(f"{name}: expected something to call with a picture, got {type(made).__name__}; add __call__")
    return made  # type: ignore[no-any-return]


def takes(found: Callable[..., object] | None, option: str) -> bool:
    """Whether a class or function has a parameter of that name."""
    try:
        return found is not None and option in inspect.signature(found).parameters
    except (TypeError, ValueError):  # some callables written in C do not tell
        return False


def _must_be_given(parameter: inspect.Parameter) -> bool:
    is_positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return is_positional and parameter.default is parameter.empty


def _check_options(name: str, parameters: Mapping[str, inspect.Parameter], options: Mapping[str, str]) -> None:
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key, text in options.items():
        if key == "target" or (key not in parameters and not takes_any):
            known = ", ".join(k for k in parameters if k not in ("image", "target")) or "none"
            raise ModelError(f"{name}: no option {key!r} (got {key}={text}); it takes {known}")
