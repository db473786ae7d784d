"""The choice of number format and threads: measured once, kept, and never more threads than allowed."""

import json

import pytest

from models import tuning
from models.base import Target
from models.openvino_runner import OpenVinoRunner, _capabilities
from models.person_mask import NETWORK as MASK
from models.tuning import Setting, choose, measured, size_class, thread_counts, tuning_file

TWO, ONE = Setting("bf16", 2), Setting("bf16", 1)
SHAPES = ((1, 360, 640, 3),)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def has_bf16():
    """Whether there is a number format to choose."""
    return "BF16" in _capabilities()


class Machine:
    """A machine where each setting takes a scripted time, and other programs slow every round alike."""

    def __init__(self, cost_ns):
        self.cost_ns = cost_ns
        self.now = 0
        self.runs = []
        self.load = 1

    def now_ns(self):
        return self.now

    def prepare(self, setting):
        def run():
            self.runs.append(setting)
            self.load = 1 + ((len(self.runs) - 1) // len(self.cost_ns)) % 5
            self.now += self.cost_ns[setting] * self.load

        return run

    def choose(self, *candidates):
        return choose("style", SHAPES, candidates, self.prepare, self.now_ns)


def test_clearly_faster_candidate_is_chosen():
    assert Machine({TWO: 30_000_000, ONE: 20_000_000}).choose(TWO, ONE) == ONE


def test_candidates_that_are_alike_leave_the_first():
    assert Machine({TWO: 21_000_000, ONE: 20_000_000}).choose(TWO, ONE) == TWO


def test_measured_once_and_kept():
    Machine({TWO: 30_000_000, ONE: 20_000_000}).choose(TWO, ONE)
    later = Machine({TWO: 1, ONE: 10**9})
    assert later.choose(TWO, ONE) == ONE
    assert later.runs == []


def test_measuring_ends():
    slow = Machine({TWO: 3 * 10**9, ONE: 10**9})
    slow.choose(TWO, ONE)
    assert len(slow.runs) == 2 * (tuning.ROUNDS_AT_LEAST + 1)
    quick = Machine({TWO: 10, ONE: 9})
    tuning_file().unlink()
    quick.choose(TWO, ONE)
    assert len(quick.runs) == 2 * (tuning.ROUNDS_AT_MOST + 1)


def test_one_candidate_is_not_measured():
    machine = Machine({ONE: 10})
    assert machine.choose(ONE) == ONE
    assert machine.runs == []
    assert not tuning_file().exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"schema_version": 1}', '{"schema_version": 1, "machines": []}', '{"schema_version": 9}',
     '{"schema_version": 1, "machines": {"x": 3}}'],
)  # fmt: skip
def test_damaged_file_is_measured_anew_and_replaced(text):
    tuning_file().parent.mkdir(parents=True)
    tuning_file().write_text(text)
    assert Machine({TWO: 30_000_000, ONE: 20_000_000}).choose(TWO, ONE) == ONE
    later = Machine({TWO: 1, ONE: 1})
    assert later.choose(TWO, ONE) == ONE
    assert later.runs == []


@pytest.mark.parametrize("choice", [None, [], ["bf16"], ["bf16", 64], "text"])
def test_damaged_choice_is_measured_anew(choice):
    Machine({TWO: 30_000_000, ONE: 20_000_000}).choose(TWO, ONE)
    kept = json.loads(tuning_file().read_text())
    (choices,) = kept["machines"].values()
    for entry in choices.values():
        entry["choice"] = choice
    tuning_file().write_text(json.dumps(kept))
    assert Machine({TWO: 20_000_000, ONE: 30_000_000}).choose(TWO, ONE) == TWO


def test_another_machine_measures_for_itself_and_keeps_both(monkeypatch):
    Machine({TWO: 30_000_000, ONE: 20_000_000}).choose(TWO, ONE)
    monkeypatch.setattr(tuning, "machine", lambda: "another")
    assert Machine({TWO: 20_000_000, ONE: 30_000_000}).choose(TWO, ONE) == TWO
    assert len(json.loads(tuning_file().read_text())["machines"]) == 2


def test_place_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / "livelens").write_text("a file where the folder should be")
    assert Machine({TWO: 30_000_000, ONE: 20_000_000}).choose(TWO, ONE) == ONE
    assert "each start will measure again" in caplog.text


def test_gain_is_of_neighbours_in_time():
    machine = Machine({TWO: 30, ONE: 20})
    _, gains = measured([machine.prepare(TWO), machine.prepare(ONE)], machine.now_ns)
    assert gains[0] == 1
    assert 1.2 < gains[1] < 1.8


def test_what_only_a_busy_machine_makes_faster_is_not_chosen():
    """Two threads take 20 ms when both get a core, which is once in five rounds, and 60 ms when one has to wait."""
    now, rounds = [0], [0]

    def prepare(setting):
        def run():
            rounds[0] += setting == TWO
            now[0] += 40_000_000 if setting == ONE else (20_000_000 if rounds[0] % 5 == 0 else 60_000_000)

        return run

    assert choose("style", SHAPES, (TWO, ONE), prepare, lambda: now[0]) == TWO


def test_sizes_near_each_other_are_one_class():
    assert size_class(((1, 360, 640, 3), (26,))) == size_class(((1, 352, 640, 3), (26,)))
    assert size_class(((1, 720, 1280, 3),)) == size_class(((1, 360, 640, 3),)) + 2


@pytest.mark.parametrize(
    ("cores", "per_core", "allowed", "counts"),
    [(2, 1, 2, [2, 1]), (2, 1, 1, [1]), (2, 1, 0, [2, 1]), (8, 2, 0, [8, 4]), (8, 2, 6, [6, 4, 3]), (1, 1, 4, [1])],
)
def test_thread_counts_are_at_most_the_allowed(monkeypatch, cores, per_core, allowed, counts):
    monkeypatch.setattr(tuning.os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr(tuning, "_siblings", lambda core: str(core // per_core))
    assert thread_counts(allowed) == counts


def test_network_is_measured_at_the_first_start_only(monkeypatch):
    asked = []
    real = tuning.measured
    monkeypatch.setattr(tuning, "measured", lambda runs, now_ns: asked.append(len(runs)) or real(runs, now_ns))
    first = OpenVinoRunner(MASK, Target("cpu", 1))
    assert asked == [2] * has_bf16()
    assert OpenVinoRunner(MASK, Target("cpu", 1)).precision == first.precision
    assert OpenVinoRunner(MASK, Target("cpu", 1), "fp32").precision == "fp32"
    assert asked == [2] * has_bf16()
