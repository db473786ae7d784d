"""What can be known to fail before anything starts: addresses, names of models, a port in use.

Importing this file stays quick, as stream/cli.py.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stream.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from stream.config import ServeConfig, StreamConfig


def check(config: "ServeConfig") -> None:
    """Raise ConfigError or ModelError for what can be known to fail before anything starts."""
    from stream.port import check_port

    several = len(config.streams) > 1
    for stream in config.streams:
        try:
            _check_stream(stream)
        except (ConfigError, ModelError) as error:
            raise type(error)(f"stream {stream.name}: {error}" if several else str(error)) from error
    if config.port:
        check_port(config.host, config.port)


def refuse_foreign(models: Iterable[str], where: str) -> None:
    """Raise ConfigError for a model that a recording names and that does not come with the program.

    A recording may be anybody's, and to load such a model would run whatever code it names.
    """
    from models.registry import is_built_in

    for name in models:
        try:
            is_known = is_built_in(name)
        except ModelError:
            is_known = False
        if not is_known:
            raise ConfigError(
                f"{where}: was recorded with {name!r}, which does not come with Livelens, and a recording is not "
                "trusted to run code; give the models with --recognize and --generate, or say --no-models"
            )


def _check_stream(stream: "StreamConfig") -> None:
    from models.base import Kind
    from models.registry import check_there, lacking, parse
    from stream.address import parse_source, publish_address

    parse_source(stream.source)
    if stream.publish:
        publish_address(stream.publish)
    for name in stream.recognize:
        parse(name, Kind.RECOGNIZE)
        check_there(name)
    if stream.generate:
        parse(stream.generate, Kind.GENERATE)
        check_there(stream.generate)
        if "mask" in lacking(stream.generate, stream.recognize):
            raise ConfigError(f"{stream.generate} keeps people as they are, so it needs --recognize mask/person too")
