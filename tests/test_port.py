"""port.py against real sockets."""

import errno
import socket
from collections.abc import Iterator

import pytest

from stream import port
from stream.errors import ConfigError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_free_port_passes_and_stays_free() -> None:
    free = port.free_port("127.0.0.1", 20000)
    assert free is not None
    port.check_port("127.0.0.1", free)
    port.check_port("127.0.0.1", free)


def test_port_in_use_names_a_free_one(taken: int) -> None:
    with pytest.raises(
        ConfigError, match=f"port {taken} on 127.0.0.1 is in use .*; (--port \\d+ is free|use --port 0)"
    ):
        port.check_port("127.0.0.1", taken)


def test_free_port_steps_over_one_in_use(taken: int) -> None:
    assert port.free_port("127.0.0.1", taken) != taken


def test_no_port_past_the_last_one() -> None:
    assert port.free_port("127.0.0.1", 65536) is None


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_foreign_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=f"--host {host} is no address of this machine"):
        port.check_port(host, 0)


def test_system_port_says_which_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(port, "_bind", lambda family, address: denied)  # tests may run as root, who may bind port 80
    with pytest.raises(ConfigError, match="port 80 is for the system; choose --port 1024 or higher"):
        port.check_port("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("cam.local", False)],
)
def test_only_loopback_is_private(host: str, expected: bool) -> None:
    assert port.is_loopback(host) is expected
