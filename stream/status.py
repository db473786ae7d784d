"""What a stream tells about itself: `GET /api/streams`, as plain values. Nothing secret, and no folders."""

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stream import controls
from stream.clock import ns_to_ms
from stream.inflow import Inflow
from stream.run import LadderChange
from stream.source import SourceKind, SourceSpec, SourceState, SourceStatus
from stream.stage import Stage, StageState
from stream.stats import FrameCounts


def frames_json(counts: FrameCounts) -> dict[str, Any]:
    """Return where the frames went."""
    return {
        "captured": counts.captured,
        "shown": counts.shown,
        "on_time": counts.on_time,
        "late": counts.late,
        "reused": counts.reused,
        "skipped": counts.skipped,
        "in_flight": counts.in_flight,
        "dropped": dict(counts.dropped),
    }


def source_json(spec: SourceSpec, status: SourceStatus) -> dict[str, Any]:
    """Return a source's state and counters."""
    return {
        "address": _shown_address(spec),
        "kind": spec.kind.value,
        "state": status.state.value,
        "code": status.code.value if status.code else None,
        "message": "" if status.state is SourceState.RUNNING else public_message(spec, status),
        "width": status.width,
        "height": status.height,
        "fps": round(status.fps_measured, 1) if status.fps_measured else None,
        "codec": status.codec,
        **asdict(status.counters),
    }


def stage_json(stage: Stage) -> dict[str, Any]:
    """Return what is known of a stage before it runs."""
    return {
        "name": stage.name,
        "kind": stage.kind.value,
        "variant": stage.variant,
        "max_age_ms": ns_to_ms(stage.max_age_ns),
    }


def running_stage_json(inflow: Inflow, state: StageState, now_ns: int) -> dict[str, Any]:
    """Return how a stage does."""
    level, ladder = state.control.level, state.stage.ladder
    rungs = inflow.known_rungs(state)
    predicted_ms = [round(ns_to_ms(rung.forecast.predicted_ns), 1) for rung in rungs]
    return stage_json(state.stage) | {
        "variant": ladder[level].name,
        "rung": level,
        "changes": state.control.changes,
        "ladder": [
            {
                "variant": variant.name,
                "quality": variant.quality,
                "predicted_ms": predicted_ms[index] if index < len(predicted_ms) else None,
                "ready": index < state.ready,
            }
            for index, variant in enumerate(ladder)
        ],
        "ips": state.rate.per_second(now_ns),
        "predicted_ms": predicted_ms[level] if level < len(predicted_ms) else 0.0,
        "runs": state.runs,
        "reuses": state.reuses,
        "skips": state.skips,
        "errors": state.errors,
        "last_error": without_folders(state.last_error),
        "preparing": state.preparing,
        "is_open": not state.breaker.is_closed(now_ns),
        "live": controls.describe(state.stage),
        "counts": _counts(state.stage),
        "latest": state.latest.results.to_json() if state.latest else None,
    }


def _counts(stage: Stage) -> dict[str, int]:
    """Return what the best variant counts of its own, such as pictures shown again; empty when nothing."""
    told = getattr(stage.model, "counts", None)
    found: dict[str, int] = told() if callable(told) else {}
    return found


def ladder_events_json(events: Iterable[LadderChange], now_ns: int) -> list[dict[str, Any]]:
    """Return the last changes of variants, newest first."""
    return [
        {
            "at_s_ago": round((now_ns - event.at_ns) / 1e9, 1),
            "stage": event.stage,
            "before": event.before,
            "after": event.after,
            "reason": event.reason,
        }
        for event in reversed(list(events))
    ]


def public_message(spec: SourceSpec, status: SourceStatus) -> str:
    """Return the source's message as viewers may see it."""
    return status.message.replace(spec.display, _shown_address(spec))


def without_folders(message: str | None) -> str | None:
    """Return a message about someone's own model as viewers may see it: its file's name, not where it lies."""
    return message and re.sub(r"[^\s:'\"]*[/\\](?=[^\s/\\:]+\.py\b)", "", message)


def _shown_address(spec: SourceSpec) -> str:
    """Return the address for viewers: of a file its name only, for where it lies is nobody's business."""
    return Path(spec.display).name if spec.kind in (SourceKind.FILE, SourceKind.FOLDER) else spec.display
