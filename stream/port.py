"""Whether a server may listen on a port, asked before anything is started."""

import errno
import os
import socket
from ipaddress import ip_address

from stream.errors import ConfigError

_NEAR = 50  # how many ports to look through for a free one; more would be a scan


def check_port(host: str, port: int) -> None:
    """Raise ConfigError when no server can listen on `host`:`port`; says which port is free.

    Another program may still take the port before the server does; then the server's own bind fails.
    """
    problem = _try_bind(host, port)
    if problem is None:
        return
    if problem.errno == errno.EADDRINUSE:
        free = free_port(host, port + 1)
        way = f"--port {free} is free" if free else "use --port 0 for any free port"
        raise ConfigError(f"port {port} on {host} is in use by another program; {way}") from problem
    if problem.errno in (errno.EACCES, errno.EPERM):
        raise ConfigError(f"port {port} is for the system; choose --port 1024 or higher, such as 8080") from problem
    raise ConfigError(f"--host {host} is no address of this machine ({problem.strerror}); try 127.0.0.1") from problem


def free_port(host: str, start: int) -> int | None:
    """Return the first port from `start` on that is free; None when none of the next few is."""
    ports = range(start, min(start + _NEAR, 65536))
    return next((port for port in ports if _try_bind(host, port) is None), None)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _try_bind(host: str, port: int) -> OSError | None:
    """Bind and let go again. A name with several addresses is free when each that exists here is."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error
    problems = [_bind(family, address) for family, _, _, _, address in found]
    taken = (problem for problem in problems if problem and problem.errno in (errno.EADDRINUSE, errno.EACCES))
    return next(taken, None if None in problems else problems[0])


def _bind(family: int, address: tuple[object, ...]) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            if os.name == "posix":  # as asyncio's servers do; elsewhere it would share a port that is in use
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return error
    return None
