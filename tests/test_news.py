"""The message of a frame, and what happens to listeners who are slow."""

import json

import numpy as np

from stream.news import BACKLOG, Backlog, frame_message
from stream.results import Results
from stream.run import Decision
from stream.trace import Step
from tests.fakes import make_frame


def test_a_message_tells_results_decisions_steps_and_where_the_frame_is_in_the_stream() -> None:
    frame = make_frame(7, 2_000_000, size=(120, 160))
    frame.deadline_ns = 152_000_000
    frame.results["boxes"] = Results(
        boxes=np.array([[1, 2, 3, 4]], np.float32),
        scores=np.array([0.5], np.float32),
        class_ids=np.array([0]),
        labels=("person",),
    )
    frame.result_age_ns["boxes"] = 33_000_000
    frame.trace.decisions["boxes"] = Decision("reuse", "openvino bf16", "busy")
    frame.trace.stamp(Step.DECODED, 5_000_000)
    message = json.loads(frame_message(frame, 3000))
    assert (message["seq"], message["rtp"], message["size"]) == (7, 3000, [160, 120])
    assert (message["captured_ms"], message["deadline_ms"]) == (2, 152)
    assert message["results"]["boxes"]["age_ms"] == 33
    assert message["results"]["boxes"]["boxes"][0]["label"] == "person"
    assert message["decisions"]["boxes"] == {"action": "reuse", "variant": "openvino bf16", "reason": "busy"}
    assert message["steps_ms"] == {"decode": 3}


def test_a_slow_listener_loses_the_stalest_and_they_are_counted() -> None:
    backlog = Backlog()
    for number in range(BACKLOG + 5):
        backlog.add(str(number))
    assert backlog.lost == 5
    sent: list[str] = []
    backlog.pour(lambda: len(sent) < 3, sent.append)
    assert sent == ["5", "6", "7"]
    assert backlog.take() == "8"
