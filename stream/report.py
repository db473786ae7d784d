"""One run as a page to read from top to bottom: a single HTML file that asks nothing of the network.

Python says what is in it, the files of report_page/ say how it looks; they set text as text, never as HTML.
"""

import html
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from statistics import median
from typing import Any

from stream.baseline import Comparison
from stream.clock import ns_to_ms
from stream.run import Outcome, Run
from stream.summary import first_arrival_ns, is_reused, is_skipped, sent_after_ns, settled, steps_ms
from stream.trace import STEP_NAMES

WORST = 20  # frames in the waterfall; more than a screen is not read
SCRIPTS = ("dom.js", "timeline.js", "waterfall.js", "latency.js", "budget.js", "ladder.js", "tables.js", "main.js")
STATES = (
    "on time",
    "reused",
    "skipped",
    "late",
    "dropped",
    "unsettled",
)  # of a frame; what is worse hides what is better
WORDS: Mapping[str, str] = {
    # drop reasons
    "superseded": "a newer frame came before it could start",
    "no_time": "could not have finished in time",
    "encoder_busy": "a newer frame came before the encoder took it",
    "encoder_error": "could not be encoded",
    "stopped": "the stream was stopped",
    # causes
    "source": "the source delivered it late or not at all",
    "decode": "decoding took too long",
    "waiting": "it waited too long for a free device",
    "model": "a model took longer than predicted, failed or was left out",
    "encode": "drawing or encoding took too long",
    "network": "handing it to the network took too long",
    "viewer": "a viewer's connection took too long",
}


def html_report(run: Run, summary: Mapping[str, Any], baseline: Sequence[Comparison] | None = None) -> str:
    """Return the page. `summary` is of the same run; `baseline` is from `stream.baseline.compare`, None without one."""
    title = f"{run.info.stream} · {run.info.clip}" if run.info.clip else run.info.stream
    parts = {
        "TITLE": html.escape(f"{title} · Livelens"),
        "VERDICT": html.escape(verdict(summary)),
        "STYLE": _page_file("report.css"),
        "SCRIPT": "\n".join(map(_page_file, SCRIPTS)),
        "DATA": _script_json(_data(run, summary, baseline)),
    }
    # In one pass: what is put in is not looked at again, whatever a stream is called.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: parts[found[1]], _page_file("report.html"))


def verdict(summary: Mapping[str, Any]) -> str:
    """Return the run in one sentence, without line breaks."""
    frames, latency = summary["frames"], summary["latency_ms"]["capture_to_send"]
    dropped = sum(frames["dropped"].values())
    if not frames["captured"]:
        return "No frame arrived."
    if not frames["shown"]:
        reason = _most(frames["dropped"], "; most often dropped as ")
        return f"None of the {frames['captured']} frames that arrived was shown{reason}."
    text = f"{_percent(frames['on_time'], frames['shown'])} of shown frames were on time"
    if latency:
        text += f"; p99 {latency['p99']:.0f} of {summary['budget_ms']:.0f} ms"
    if dropped:
        text += f"; {_percent(dropped, frames['captured'])} of all frames were dropped"
    if summary["is_complete"] is False:
        text += f"; only {frames['captured']} of {frames['expected']} frames of the clip were played"
    return f"{text}{_most(summary['causes'], '; most misses: ')}."


def _most(counts: Mapping[str, int], lead: str) -> str:
    return lead + max(counts, key=lambda name: counts[name]) if counts else ""


def _percent(part: int, whole: int) -> str:
    """Return a share with one decimal; 100 % is said only of all, and 0.0 % only of none."""
    if part == whole:
        return "100 %"
    return f"{min(99.9, max(0.1, 100 * part / whole)):.1f} %" if part else "0.0 %"


def _page_file(name: str) -> str:
    return (files("stream") / "report_page" / name).read_text("utf-8")


def _script_json(data: object) -> str:
    """Return JSON that is safe inside a script element, where "</script>" and "<!--" would end or change it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(run: Run, summary: Mapping[str, Any], baseline: Sequence[Comparison] | None) -> dict[str, Any]:
    outcomes = settled(run)
    bulky = ("samples_ms", "shown_at_ms", "outcomes")  # the page has every frame already
    return {
        "verdict": verdict(summary),
        "summary": {name: value for name, value in summary.items() if name not in bulky},
        "steps": list(STEP_NAMES.values()),
        "states": STATES,
        "frames": _frame_columns(run, outcomes),
        "stages": _stage_rows(run, outcomes),
        "worst": [_waterfall_row(one, first_arrival_ns(run)) for one in _worst(outcomes)],
        "planned_ms": _planned_ms(outcomes),
        "words": WORDS,
        "baseline": [asdict(one) for one in baseline] if baseline is not None else None,
    }


def _frame_columns(run: Run, outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    """Return the frames that were settled as columns, in order of seq: a tenth of the size of rows with names."""
    start_ns, columns = first_arrival_ns(run), defaultdict[str, list[Any]](list)
    arrived = {arrival.seq: arrival.captured_ns for arrival in run.arrivals}
    for one in outcomes:
        age_ns = sent_after_ns(one)
        captured_ns = one.stamps_ns.get("captured", arrived.get(one.seq, one.at_ns))
        columns["seq"].append(one.seq)
        columns["at_ms"].append(round(ns_to_ms(captured_ns - start_ns), 1))
        columns["age_ms"].append(None if age_ns is None else round(ns_to_ms(age_ns), 2))
        columns["late_ms"].append(round(ns_to_ms(one.late_ns), 2) if one.is_shown else None)
        columns["state"].append(STATES.index(_state(one)))
        columns["why"].append(one.dropped)
        columns["cause"].append(one.cause)
    return {name: columns[name] for name in ("seq", "at_ms", "age_ms", "late_ms", "state", "why", "cause")}


def _state(one: Outcome) -> str:
    """Return the one word a frame is coloured by."""
    if one.dropped:
        return "dropped"
    if not one.is_on_time:
        return "late"
    return "skipped" if is_skipped(one) else "reused" if is_reused(one) else "on time"


def _stage_rows(run: Run, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return each stage with the variant it ran with for each frame: a place in `variants`, -1 when it did not run."""
    rows = []
    for stage in run.info.stages:
        decided = [one.decisions.get(stage.name) for one in outcomes]
        ran = [one.variant if one and one.action in ("run", "refresh") else None for one in decided]
        rungs = [rung.variant for rung in stage.ladder]
        variants = [*rungs, *sorted({name for name in ran if name is not None} - set(rungs))]
        place = {name: number for number, name in enumerate(variants)}
        rows.append(
            {
                "name": stage.name,
                "kind": stage.kind,
                "lane": stage.lane,
                "variants": variants,
                "quality": {rung.variant: rung.quality for rung in stage.ladder},
                "ran": [-1 if name is None else place[name] for name in ran],
            }
        )
    return rows


def _worst(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the frames sent that were furthest past their deadline, or nearest to it."""
    sent = [one for one in outcomes if sent_after_ns(one) is not None]
    return sorted(sent, key=lambda one: (-one.late_ns, one.seq))[:WORST]


def _waterfall_row(one: Outcome, start_ns: int) -> dict[str, Any]:
    captured_ns = one.stamps_ns["captured"]
    return {
        "seq": one.seq,
        "at_ms": round(ns_to_ms(captured_ns - start_ns), 1),
        "late_ms": round(ns_to_ms(one.late_ns), 2),
        "age_ms": round(ns_to_ms(one.stamps_ns["sent"] - captured_ns), 2),
        "deadline_ms": round(ns_to_ms(one.deadline_ns - captured_ns), 2),
        "cause": one.cause,
        "steps_ms": {name: round(value_ms, 2) for name, value_ms in steps_ms(one).items()},
        "decisions": {name: asdict(decision) for name, decision in one.decisions.items()},
    }


def _planned_ms(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the median of what was planned for each step, over the frames shown."""
    planned = defaultdict[str, list[int]](list)
    for one in outcomes:
        for name, value_ns in one.planned_ns.items() if one.is_shown else ():
            planned[name].append(value_ns)
    return {name: round(ns_to_ms(median(values)), 2) for name, values in planned.items()}
