"""A test that fails the build when a clip's frames are late: copy it beside your own tests.

You will see: the usual dots of pytest, and below them what each replay found, such as
"sample.mp4, realtime: p99 60.1 of 150 ms, 100.0 % on time, 30.0 fps". A test that fails says which
limit did not hold, and where its report is: open that in a browser.

    pytest demos/04_test_latency.py
    pytest demos/04_test_latency.py --livelens-reports reports       reports of tests that pass, too

pytest finds the fixture `latency_replay` by itself once Livelens is installed. docs/latency-testing.md
goes on from here: recordings of your own camera, baselines, CI.
"""

from stream.address import sample_clip

# Of your own: "clips/gate.mkv", from this file's folder on. `livelens record camera:0 clips/gate.mkv --seconds 20`
CLIP = sample_clip().address


def test_video_alone_is_on_time(latency_replay):
    """Without a model: what decoding, encoding and sending cost on this machine."""
    latency_replay(CLIP, no_models=True, budget_ms=100, max_p99_ms=100, min_on_time=99)


def test_boxes_are_on_time_and_fluent(latency_replay):
    """With a network that ships with Livelens. Your own is "path/file.py:Class", or the class itself."""
    found = latency_replay(CLIP, recognize=["boxes/coco"], budget_ms=150, max_p99_ms=150, min_on_time=95)
    assert found.fps > 15, found.summary["frames"]  # every number is there: docs/replay-json.md
