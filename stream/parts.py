"""What a live stream is made of, as the wiring gives it and LiveStream takes it: it knows no model and no address."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stream.frame import Frame
from stream.inflow import NO_TERMS, Terms
from stream.pool import BufferPool
from stream.run import RunInfo, RunLog
from stream.shadow import Judge
from stream.source import Source
from stream.warming import LoadedStage


class StreamLog(RunLog, Protocol):
    """Takes the account of a stream; see stream/recorder.py."""

    def status(self) -> dict[str, Any]:
        """Return how the recording does, for the API."""
        ...

    def close(self, timeout_s: float = 2.0) -> object:
        """Finish what is written. Blocks."""
        ...


class Publishes(Protocol):
    """Sends the stream on; see stream/publish.py."""

    async def run(self) -> None:
        """Send until cancelled."""
        ...

    def status(self) -> dict[str, object]:
        """Return how it stands, for the API."""
        ...


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What a stream is made of; built by the wiring, so that a live stream knows no model and no address.

    load_stages  called on a worker thread; may block for seconds and raise ModelError
    open_source  called with the function to give frames to
    terms        weight, minimum rate, and how frames are taken
    min_quality  of the ladders' variants, as chosen by the wiring; for the status
    allow_late   show late pictures where no frame can be in time, rather than refuse the stream
    recorder     takes the account of the stream; None when it is not recorded
    about        what the account says of clip, device and versions
    judges       stage name -> the reference that looks at one of its frames now and then
    shadow_ns    how often; 0 for never
    pool         what the stream's pictures are made in, from the source to the encoder
    """

    name: str
    budget_ns: int
    load_stages: Sequence[Callable[[], LoadedStage]]
    open_source: Callable[[Callable[[Frame], None]], Source]
    terms: Terms = NO_TERMS
    min_quality: float = 0.0
    allow_late: bool = False
    recorder: StreamLog | None = None
    about: RunInfo | None = None
    judges: Mapping[str, Judge] = field(default_factory=dict)
    shadow_ns: int = 0
    pool: BufferPool = field(default_factory=BufferPool)
