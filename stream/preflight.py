"""What can be known to fail before anything starts: addresses, names of models, a port in use.

Importing this file stays quick, as stream/cli.py.
"""

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


def _check_stream(stream: "StreamConfig") -> None:
    from models.base import Kind
    from models.registry import parse
    from stream.address import parse_source

    parse_source(stream.source)
    for name in stream.recognize:
        parse(name, Kind.RECOGNIZE)
    if stream.generate:
        parse(stream.generate, Kind.GENERATE)
