"""The counters of every stream in Prometheus' text format, read at the moment they are asked for."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from stream.lag import LoopLag
from stream.live import LiveStream
from stream.source import SourceState


class StreamCollector(Collector):
    """Turns the state of the streams into metrics. Event loop only."""

    def __init__(self, streams: dict[str, LiveStream], lag: LoopLag) -> None:
        self._streams = streams
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family; called by `generate_latest`."""
        streams = list(self._streams.values())
        yield from _frames(streams)
        yield from _rates(streams)
        yield from _latency(streams)
        yield from _stages(streams)
        yield from _shadows(streams)
        yield from _sources(streams)
        yield from _pools(streams)
        yield from _devices(streams)
        yield _summary("livelens_loop_lag_seconds", "How late the event loop woke.", [], [([], self._lag.lag_ms)])


class Metrics:
    """The registry of one server."""

    def __init__(self, streams: dict[str, LiveStream], lag: LoopLag) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StreamCollector(streams, lag))

    def render(self) -> bytes:
        """Return the text that `GET /metrics` answers with."""
        return generate_latest(self._registry)


def _frames(streams: list[LiveStream]) -> Iterator[Metric]:
    captured = CounterMetricFamily("livelens_frames_captured", "Frames the source gave.", labels=["stream"])
    shown = CounterMetricFamily("livelens_frames_shown", "Frames sent to every viewer.", labels=["stream", "deadline"])
    dropped = CounterMetricFamily("livelens_frames_dropped", "Frames never shown.", labels=["stream", "reason"])
    for stream in streams:
        captured.add_metric([stream.name], stream.counts.captured)
        shown.add_metric([stream.name, "met"], stream.counts.on_time)
        shown.add_metric([stream.name, "missed"], stream.counts.late)
        for reason, count in stream.counts.dropped.items():
            dropped.add_metric([stream.name, reason], count)
    causes = CounterMetricFamily(
        "livelens_frame_causes", "Causes of frames dropped, late, or shown without a stage.", labels=["stream", "cause"]
    )
    for stream in streams:
        for cause, count in stream.counts.causes.items():
            causes.add_metric([stream.name, cause], count)
    yield from (captured, shown, dropped, causes)


def _rates(streams: Iterable[LiveStream]) -> Iterator[Metric]:
    ready = GaugeMetricFamily("livelens_stream_ready", "1 when the models are warm.", labels=["stream"])
    viewers = GaugeMetricFamily("livelens_viewers", "Viewers connected.", labels=["stream"])
    bitrate = GaugeMetricFamily("livelens_encoder_bitrate_bps", "Encoded bits per second.", labels=["stream"])
    for stream in streams:
        ready.add_metric([stream.name], float(stream.is_ready))
        output = stream.broadcast
        viewers.add_metric([stream.name], output.viewer_count() if output else 0)
        bitrate.add_metric([stream.name], output.bitrate_bps() if output else 0)
    yield from (ready, viewers, bitrate)


def _latency(streams: Iterable[LiveStream]) -> Iterator[Metric]:
    streams = list(streams)
    whole = [([s.name], s.latency.capture_to_send) for s in streams]
    steps = [([s.name, step], samples) for s in streams for step, samples in s.latency.steps.items()]
    yield _summary("livelens_capture_to_send_seconds", "From capture to the last packet.", ["stream"], whole)
    shown = [([s.name], s.glass.capture_to_shown) for s in streams if s.glass.capture_to_shown.count]
    yield _summary("livelens_capture_to_shown_seconds", "From capture to a viewer's screen.", ["stream"], shown)
    yield _summary("livelens_step_seconds", "Time of each step of a frame's way.", ["stream", "step"], steps)


def _stages(streams: list[LiveStream]) -> Iterator[Metric]:
    labels = ["stream", "stage"]
    runs = CounterMetricFamily("livelens_stage_runs", "Times a stage ran.", labels=labels)
    reuses = CounterMetricFamily("livelens_stage_reuses", "Frames shown with an earlier result.", labels=labels)
    errors = CounterMetricFamily("livelens_stage_errors", "Times a stage failed.", labels=labels)
    for stream in streams:
        for stage, state in stream.stage_states().items():
            runs.add_metric([stream.name, stage], state.runs)
            reuses.add_metric([stream.name, stage], state.reuses)
            errors.add_metric([stream.name, stage], state.errors)
    yield from (runs, reuses, errors)
    yield from _ladders(streams)


def _ladders(streams: Iterable[LiveStream]) -> Iterator[Metric]:
    labels = ["stream", "stage"]
    level = GaugeMetricFamily(
        "livelens_stage_level", "Variant in use: 0 is the best, 1 the next lighter.", labels=labels
    )
    changes = CounterMetricFamily("livelens_stage_variant_changes", "Times the variant was changed.", labels=labels)
    for stream in streams:
        for stage, state in stream.stage_states().items():
            level.add_metric([stream.name, stage], float(state.control.level))
            changes.add_metric([stream.name, stage], state.control.changes)
    yield from (level, changes)


def _shadows(streams: Iterable[LiveStream]) -> Iterator[Metric]:
    labels = ["stream", "stage"]
    drift = GaugeMetricFamily(
        "livelens_shadow_agreement",
        "How near the last frame judged was to the reference; the unit is the measure's.",
        labels=[*labels, "measure"],
    )
    frames = CounterMetricFamily("livelens_shadow_frames", "Frames the reference judged.", labels=labels)
    below = CounterMetricFamily("livelens_shadow_frames_below", "... that did not reach a floor.", labels=labels)
    for stream in streams:
        for stage, found in stream.shadow.drifts.items() if stream.shadow else ():
            frames.add_metric([stream.name, stage], found.frames)
            below.add_metric([stream.name, stage], found.below)
            if found.judgement is not None and found.judgement.measure:
                drift.add_metric([stream.name, stage, found.judgement.measure], found.judgement.value)
    yield from (drift, frames, below)


def _sources(streams: Iterable[LiveStream]) -> Iterator[Metric]:
    state = GaugeMetricFamily("livelens_source_state", "1 for the state the source is in.", labels=["stream", "state"])
    broken = CounterMetricFamily("livelens_source_decode_errors", "Packets that did not decode.", labels=["stream"])
    reconnects = CounterMetricFamily(
        "livelens_source_reconnects", "Times the source was opened again.", labels=["stream"]
    )
    for stream in streams:
        status = stream.source_status()
        for one in SourceState:
            state.add_metric([stream.name, one.value], float(one is status.state))
        broken.add_metric([stream.name], status.counters.decode_errors)
        reconnects.add_metric([stream.name], status.counters.reconnects)
    yield from (state, broken, reconnects)


def _pools(streams: Iterable[LiveStream]) -> Iterator[Metric]:
    takes = CounterMetricFamily(
        "livelens_pool_takes", "Picture buffers asked for: used again (hit) or made (miss).", labels=["stream", "found"]
    )
    held = GaugeMetricFamily("livelens_pool_outstanding", "Picture buffers that somebody holds.", labels=["stream"])
    size = GaugeMetricFamily("livelens_pool_bytes", "Memory of all picture buffers, held or free.", labels=["stream"])
    for stream in streams:
        counts = stream.pool.counts()
        takes.add_metric([stream.name, "hit"], counts.hits)
        takes.add_metric([stream.name, "miss"], counts.misses)
        held.add_metric([stream.name], counts.outstanding)
        size.add_metric([stream.name], counts.held_bytes)
    yield from (takes, held, size)


def _devices(streams: Iterable[LiveStream]) -> Iterator[Metric]:
    memory = GaugeMetricFamily("livelens_device_memory_bytes", "Memory of a GPU.", labels=["device", "kind"])
    ran_out = CounterMetricFamily(
        "livelens_device_out_of_memory", "Times memory ran out, and times less work helped.", labels=["device", "kind"]
    )
    for device in {stream.device.name: stream.device for stream in streams}.values():
        for name, value in device.memory().items():
            is_bytes = name.endswith("_bytes")
            (memory if is_bytes else ran_out).add_metric([device.name, name.removesuffix("_bytes")], value)
    yield from (memory, ran_out)


def _summary(name: str, text: str, labels: list[str], values: Iterable[tuple[list[str], Any]]) -> Metric:
    """Return a summary with its p50, p95 and p99 as a metric of Prometheus' own kind."""
    family = SummaryMetricFamily(name, text, labels=labels)
    for label_values, samples in values:
        family.add_metric(label_values, samples.count, samples.total_ms / 1000)
        for key, value_ms in samples.summary().items():
            if key in _QUANTILES:
                named = dict(zip(labels, label_values, strict=True)) | {"quantile": _QUANTILES[key]}
                family.add_sample(name, named, value_ms / 1000)
    return family


_QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}
