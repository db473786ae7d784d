"""Which reader fetches the pictures of which kind of source."""

from typing import TYPE_CHECKING

from stream.address import SourceKind, SourceSpec

if TYPE_CHECKING:
    from stream.intake import Reader


def make_reader(spec: SourceSpec, fps: float | None, max_size: tuple[int, int] | None = None) -> "Reader":
    """Return the reader for `spec`. Imports what it needs only."""
    if spec.kind is SourceKind.BROWSER:
        from stream.publisher import PublisherReader

        return PublisherReader()
    if spec.kind is SourceKind.TEST:
        from stream.pattern import PatternReader

        return PatternReader(spec.size, min(spec.fps, fps or spec.fps))  # none to skip: frame n shows n
    if spec.kind is SourceKind.FOLDER:
        from stream.pictures import PicturesReader

        return PicturesReader(spec.target, spec.display, fps, max_size)
    if spec.kind is SourceKind.CAMERA:
        from stream.camera import camera_reader

        return camera_reader(spec)
    from stream.demux import DemuxReader, rtsp_input, url_input

    if spec.kind is SourceKind.RTSP:
        return DemuxReader(rtsp_input(spec))
    return DemuxReader(url_input(spec))
