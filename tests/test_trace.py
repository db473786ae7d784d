from stream.trace import Step, Trace


def test_steps_add_up_to_the_age() -> None:
    trace = Trace(1_000_000)
    for step, at_ms in ((Step.DECODED, 3), (Step.QUEUED, 3), (Step.STARTED, 10), (Step.FINISHED, 30), (Step.SENT, 36)):
        trace.stamp(step, 1_000_000 + at_ms * 1_000_000)
    steps = trace.step_ms()
    assert steps == {"decode": 3.0, "queue": 0.0, "wait": 7.0, "models": 20.0, "send": 6.0}
    assert trace.age_ns(Step.SENT) == sum(steps.values()) * 1_000_000


def test_a_step_not_reached_has_no_age() -> None:
    assert Trace(0).age_ns(Step.ENCODED) is None
