"""A viewer's data channel: what comes in may be anything, what goes out is bounded."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from stream.channel import BUFFERED_AT_MOST_BYTES, LABEL, MALFORMED_AT_MOST, REPORTS_AT_MOST, ViewerChannel
from stream.clock import NS_PER_MS, VirtualClock


class FakeChannel:
    def __init__(self, label: str = LABEL) -> None:
        self.label = label
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent: list[dict[str, Any]] = []
        self.receive: Callable[[object], None] = lambda data: None

    def on(self, event: str, handler: Callable[[object], None]) -> None:
        assert event == "message"
        self.receive = handler

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))


class FakeConnection:
    def __init__(self) -> None:
        self.open: Callable[[FakeChannel], None] = lambda channel: None

    def on(self, event: str) -> Callable[[Callable[[FakeChannel], None]], None]:
        assert event == "datachannel"

        def keep(handler: Callable[[FakeChannel], None]) -> None:
            self.open = handler

        return keep


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.shown: list[tuple[int, int]] = []
        self.viewer = ViewerChannel("s", self.clock, lambda seq, at_ns: self.shown.append((seq, at_ns)), lambda: None)
        self.connection, self.channel = FakeConnection(), FakeChannel()
        self.viewer.listen(self.connection)  # type: ignore[arg-type]

    def opened(self) -> "Rig":
        self.connection.open(self.channel)
        self.viewer.found_origin(1000)
        return self


def test_messages_wait_for_the_channel_and_the_origin_and_a_hello_comes_first() -> None:
    rig = Rig()
    rig.viewer.offer('{"type":"frame","seq":1}')
    rig.connection.open(rig.channel)
    assert rig.channel.sent == []
    rig.viewer.found_origin(1000)
    assert rig.channel.sent == [
        {"type": "hello", "version": 1, "stream": "s", "rtp_origin": 1000},
        {"type": "frame", "seq": 1},
    ]


def test_a_channel_of_another_name_is_left_alone() -> None:
    rig = Rig()
    other = FakeChannel("chat")
    rig.connection.open(other)
    rig.viewer.found_origin(0)
    rig.viewer.offer("{}")
    assert other.sent == []


def test_a_viewer_that_does_not_read_loses_the_stalest() -> None:
    rig = Rig().opened()
    rig.channel.bufferedAmount = BUFFERED_AT_MOST_BYTES
    for seq in range(50):
        rig.viewer.offer(json.dumps({"seq": seq}))
    assert len(rig.channel.sent) == 1 and rig.viewer.lost == 20
    rig.channel.bufferedAmount = 0
    rig.viewer.offer('{"seq":50}')
    assert [message.get("seq") for message in rig.channel.sent[1:]] == list(range(21, 51))


def test_a_ping_is_answered_with_the_servers_time() -> None:
    rig = Rig().opened()
    rig.clock.advance_to(5 * NS_PER_MS)
    rig.channel.receive('{"type":"ping","t":12.5}')
    assert rig.channel.sent[-1]["type"] == "pong" and rig.channel.sent[-1]["t"] == 12.5
    assert rig.channel.sent[-1]["server_ms"] == rig.clock.now_ns() / NS_PER_MS


def test_reports_are_handed_on_in_ns() -> None:
    rig = Rig().opened()
    rig.channel.receive('{"type":"shown","frames":[[7,12.5],[8,45]]}')
    assert rig.shown == [(7, 12_500_000), (8, 45_000_000)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01",
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"type":"dance"}',
        '{"type":"ping"}',
        '{"type":"ping","t":"now"}',
        '{"type":"ping","t":NaN}',
        '{"type":"ping","t":Infinity}',
        '{"type":"ping","t":true}',
        '{"type":"shown"}',
        '{"type":"shown","frames":7}',
        '{"type":"shown","frames":[[1]]}',
        '{"type":"shown","frames":[[1.5,2]]}',
        '{"type":"shown","frames":[[true,2]]}',
        '{"type":"shown","frames":[[1,null]]}',
        '{"type":"shown","frames":[[1,1e300]]}',
        json.dumps({"type": "shown", "frames": [[1, 2]] * (REPORTS_AT_MOST + 1)}),
        "[" * 3000,
        "x" * 5000,
        '{"type":"ping","t":' + "9" * 4000 + "}",
    ],
)
def test_what_makes_no_sense_is_counted_and_nothing_happens(data: object) -> None:
    rig = Rig().opened()
    rig.channel.receive(data)
    assert rig.viewer.malformed == 1
    assert rig.shown == [] and len(rig.channel.sent) == 1


def test_a_viewer_that_only_talks_nonsense_is_no_longer_read() -> None:
    rig = Rig().opened()
    for _ in range(MALFORMED_AT_MOST + 10):
        rig.channel.receive("{")
    rig.channel.receive('{"type":"ping","t":1}')
    assert rig.viewer.malformed == MALFORMED_AT_MOST
    assert len(rig.channel.sent) == 1


def test_what_a_viewer_says_after_it_has_gone_counts_no_more() -> None:
    gone: list[int] = []
    rig = Rig()
    rig.viewer = ViewerChannel(
        "s", rig.clock, lambda seq, at_ns: rig.shown.append((seq, at_ns)), lambda: gone.append(1)
    )
    rig.viewer.listen(rig.connection)  # type: ignore[arg-type]
    rig.opened()
    for _ in range(2):
        rig.viewer.close()
    rig.channel.receive('{"type":"shown","frames":[[7,12.5]]}')
    assert (gone, rig.shown) == ([1], [])


def test_a_channel_that_closes_takes_nothing_more() -> None:
    rig = Rig().opened()
    rig.channel.readyState = "closing"
    rig.viewer.offer("{}")
    assert len(rig.channel.sent) == 1
