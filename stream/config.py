"""What a person may set, from a TOML file or from options, checked before anything starts.

    [server]
    port = 8080

    [[stream]]
    name = "gate"
    source = "rtsp://10.0.0.7/main"
    recognize = ["boxes/coco"]
    budget_ms = 120

A wrong setting is one `ConfigError` of one line: where it is, the key, the value, and what is allowed.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from stream.errors import ConfigError

DEFAULT_BUDGET_MS = 150.0  # two frames at 30 fps of models, one of encoding, one of the viewer's jitter buffer
DEFAULT_RECOGNIZE = ("mask/person", "boxes/coco")
DEFAULT_GENERATE = "style:where=background"
LARGEST_PX, SMALLEST_PX = 7680, 16  # 8K; one macroblock

_SIZE = re.compile(r"(\d{1,5})[xX](\d{1,5})")


def _parse_size(value: Any) -> Any:
    """Turn "WxH" into (width, height); a pair is checked like it."""
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        value = (int(found[1]), int(found[2]))
    if value is None or (
        isinstance(value, tuple) and all(SMALLEST_PX <= side <= LARGEST_PX and side % 2 == 0 for side in value)
    ):
        return value
    raise ValueError("size")


def _allowed(text: str) -> Any:
    """Say what a setting may be; the error message shows it."""
    return Field(description=text)


Text = Annotated[str, Field(min_length=1, strict=True)]


class StreamConfig(BaseModel):
    """One stream: where pictures come from, what runs on them, and how fast they must be out.

    With neither `recognize` nor `generate` the default picture is made: a person mask, boxes, and a painting
    style on the background. `models=False` gives plain video.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    source: Annotated[Text, _allowed("an address such as camera:0, rtsp://host/path, a file, test: or browser")]
    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$"), _allowed("1 to 64 letters, digits, dots, dashes or underscores")
    ] = "live"
    recognize: Annotated[list[Text], _allowed('a list of model names, such as ["mask/person", "boxes/coco"]')] = []
    generate: Annotated[Text | None, _allowed('one model with its options, such as "style:where=background"')] = None
    budget_ms: Annotated[
        float, Field(gt=0), _allowed("more than 0 (milliseconds from capture until the picture is sent)")
    ] = DEFAULT_BUDGET_MS
    size: Annotated[
        tuple[int, int] | None,
        BeforeValidator(_parse_size),
        _allowed(f"WxH such as 640x360: even numbers from {SMALLEST_PX} to {LARGEST_PX}"),
    ] = None  # (width, height); None leaves it to the source
    fps: Annotated[float | None, Field(gt=0, le=240), _allowed("more than 0 and at most 240 (pictures per second)")] = (
        None  # None takes every picture the source gives
    )
    min_quality: Annotated[
        float,
        Field(ge=0, le=1),
        _allowed("0 (any lighter variant may be used) to 1 (none, frames are skipped instead)"),
    ] = 0.0
    weight: Annotated[
        float, Field(gt=0, le=1000), _allowed("more than 0 (its part of the device beside the other streams)")
    ] = 1.0
    min_fps: Annotated[
        float, Field(ge=0, le=240), _allowed("0 to 240 (frames a second it gets before others get more)")
    ] = 1.0
    allow_late: Annotated[
        bool, _allowed("false (a stream whose frames can never be in time is refused) or true (it is shown late)")
    ] = False
    shadow_s: Annotated[
        float,
        Field(ge=0, le=86_400),
        _allowed("0 (never) to 86400 (seconds between two frames that torch fp32 judges, in spare time)"),
    ] = 0.0
    record: Annotated[Text | None, _allowed("the name of a file to record to, such as gate.mkv")] = None
    publish: Annotated[
        Text | None, _allowed("the address of a WHIP endpoint to send to, such as whip://host:8080/whip/name")
    ] = None
    publish_token: Annotated[Text | None, Field(repr=False), _allowed("the token that endpoint asks for")] = None
    loop: Annotated[bool, _allowed("true (a file starts again at its end) or false")] = True
    models: Annotated[bool, _allowed("true, or false for plain video")] = True

    @model_validator(mode="before")
    @classmethod
    def _fill_models(cls, given: Any) -> Any:
        """Give the default picture to a stream that names no model."""
        if not isinstance(given, dict):
            return given
        named = next((key for key in ("recognize", "generate") if given.get(key) not in (None, [])), None)
        if given.get("models", True) is False:
            if named:
                raise PydanticCustomError("said", "{key} asks for a model, and models = false for none", {"key": named})
            return given
        if named:
            return given
        return {**given, "recognize": list(DEFAULT_RECOGNIZE), "generate": DEFAULT_GENERATE}


class ServeConfig(BaseModel):
    """Everything `livelens serve` needs to start."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    streams: Annotated[list[StreamConfig], Field(min_length=1), _allowed("at least one [[stream]] table with a source")]
    host: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9.:%_-]+$"), _allowed("a name or address of this machine, such as 127.0.0.1")
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535), _allowed("1 to 65535, or 0 for any free port")] = 8080
    token: Annotated[
        str | None,
        Field(min_length=8, max_length=256, pattern=r"^[!-~]+$", repr=False),
        _allowed("8 to 256 letters, digits or signs without spaces: what every request must carry"),
    ] = None
    insecure: Annotated[bool, _allowed("true (others may come in without a token) or false")] = False
    allow_origin: Annotated[
        list[Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+$")]],
        _allowed('a list of sites such as ["https://example.org"], whose pages may use this server'),
    ] = []
    device: Annotated[
        str,
        Field(pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d{1,2})?(,(cuda|xpu):\d{1,2}){0,15})$"),
        _allowed("auto, cpu, cuda:N such as cuda:0, cuda:0,cuda:1 and so on, cuda for all of them, xpu:N or mps"),
    ] = "auto"

    @field_validator("streams", mode="after")
    @classmethod
    def _refuse_same_name(cls, streams: list[StreamConfig]) -> list[StreamConfig]:
        names = [stream.name for stream in streams]
        for index, name in enumerate(names):
            if (first := names.index(name)) != index:
                raise PydanticCustomError(
                    "said",
                    "name = {name} in [[stream]] {index} is taken by [[stream]] {first}; each stream needs its own",
                    {"name": repr(name), "index": index + 1, "first": first + 1},
                )
        return streams


# Say where a setting stands: (pydantic's path, the key) -> words that the value follows.
Naming = Callable[[tuple[int | str, ...], str], str]

FLAGS = {
    "source": "SOURCE",
    "name": "--name",
    "recognize": "--recognize",
    "generate": "--generate",
    "budget_ms": "--budget",
    "size": "--size",
    "fps": "--fps",
    "min_quality": "--min-quality",
    "allow_late": "--allow-late",
    "shadow_s": "--shadow",
    "record": "--record",
    "publish": "--publish",
    "publish_token": "--publish-token",
    "host": "--host",
    "token": "--token",
    "insecure": "--insecure",
    "allow_origin": "--allow-origin",
    "port": "--port",
    "device": "--device",
}


def from_options(server: Mapping[str, Any], stream: Mapping[str, Any]) -> ServeConfig:
    """Make the configuration of one stream from command line options; an error names the option."""
    return _check({**server, "streams": [dict(stream)]}, "", _name_option)


def from_file(path: Path, server: Mapping[str, Any] | None = None) -> ServeConfig:
    """Read a TOML file; `server` holds options that win over the file's [server] table.

    Raises ConfigError. Reads the file: not for the event loop.
    """
    document = _read(path)
    for key in document:
        if key not in ("server", "stream"):
            raise ConfigError(f"{path}: {_unknown(key, ['server', 'stream'])}")
    for key, kind, hint in (("server", dict, "[server]"), ("stream", list, "[[stream]]")):
        if not isinstance(document.get(key, kind()), kind):
            raise ConfigError(f"{path}: write {key} as a table: {hint}, then one setting a line")
    table = document.get("server", {})
    if "streams" in table:
        raise ConfigError(f"{path}: [server] unknown key 'streams'; write a [[stream]] table for each stream")
    config = _check({**table, "streams": document.get("stream", [])}, f"{path}: ", _name_in_file)
    if not server:
        return config
    return _check({**config.model_dump(), **server}, "", _name_option)


def cache_dir() -> Path:
    """Return the folder for what can be made again, such as compiled networks; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "livelens"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; --config wants a TOML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; --config wants a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {_one_line(str(error))}") from error


def _check(given: dict[str, Any], where: str, naming: Naming) -> ServeConfig:
    """Validate `given`; the first thing wrong becomes the ConfigError."""
    try:
        return ServeConfig.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ConfigError(f"{where}{_explain(found[0], naming)}{more}") from error


def _explain(error: ErrorDetails, naming: Naming) -> str:
    """Say in one line what is wrong with one setting."""
    path, kind = error["loc"], error["type"]
    in_stream = path[:1] == ("streams",) and len(path) > 1
    model = StreamConfig if in_stream else ServeConfig
    key = str(path[2] if len(path) > 2 else "" if in_stream or not path else path[0])
    where = naming(path, "")
    if kind == "said":
        return where + error["msg"]
    if kind == "extra_forbidden":
        return where + _unknown(key, _keys(model))
    field = model.model_fields.get(key)
    allowed = field.description if field else "a table of settings"
    label = naming(path, key)
    if kind in ("missing", "too_short"):
        return f"{label.removesuffix(' = ').strip()} is missing; it must be {allowed}"
    shown = "as given" if key in ("token", "publish_token") else _show(error["input"])  # a secret is shown to nobody
    return f"{label}{shown} is not allowed; it must be {allowed}"


def _name_in_file(path: tuple[int | str, ...], key: str) -> str:
    setting = f"{key} = " if key else ""
    if path[:1] == ("streams",):
        return f"[[stream]] {int(path[1]) + 1}: {setting}" if len(path) > 1 else "[[stream]] "
    return f"[server] {setting}"


def _name_option(_path: tuple[int | str, ...], key: str) -> str:
    return f"{FLAGS.get(key, key)} " if key else ""


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else _one_line(repr(value))


def _keys(model: type[BaseModel]) -> list[str]:
    return [key for key in model.model_fields if key != "streams"]


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"unknown key {_one_line(key)!r}; {hint}"


def _one_line(text: str, limit: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
