"""Which reader for which source."""

import pytest

from stream.address import parse_source
from stream.demux import DemuxReader
from stream.pattern import PatternReader
from stream.publisher import PublisherReader
from stream.readers import make_reader


@pytest.mark.parametrize(
    ("address", "reader"),
    [
        ("rtsp://h/x", DemuxReader),
        ("http://h/x", DemuxReader),
        (__file__, DemuxReader),
        ("test:", PatternReader),
        ("browser", PublisherReader),
    ],
)
def test_each_kind_has_its_reader(address: str, reader: type) -> None:
    assert isinstance(make_reader(parse_source(address), None), reader)
