"""Which reader for which source."""

import pytest

from stream.address import parse_source
from stream.demux import DemuxReader
from stream.pattern import PatternReader
from stream.readers import make_reader


@pytest.mark.parametrize(
    ("address", "reader"),
    [("rtsp://h/x", DemuxReader), ("http://h/x", DemuxReader), (__file__, DemuxReader), ("test:", PatternReader)],
)
def test_each_kind_has_its_reader(address: str, reader: type) -> None:
    assert isinstance(make_reader(parse_source(address), None), reader)


def test_a_browser_has_none_since_it_sends() -> None:
    assert make_reader(parse_source("browser"), None) is None
