"""Fairness keys: who pays what, and what is forgotten."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.lines import beat, cancel, frame, hello, result, spec_of, submission, submit
from tests.support.play import Play
from upbeat_server.engine.commands import Assign
from upbeat_server.engine.events import AttemptEnded, TasksSubmitted
from upbeat_server.engine.limits import Limits, Ordering
from upbeat_server.engine.model import Payload

RUN_MS = 100


@pytest.fixture
def fair(play: Play) -> Play:
    """A play without the overdue lane."""
    play.engine.limits = Limits(ordering=Ordering(overdue_turn=1 << 30))
    return play


def flood(play: Play, count: int, **fields: object) -> None:
    template = submission(spec_of(**fields))
    play >> (lambda play: TasksSubmitted(1 << 30, [template] * count))


def run(play: Play, agent: str, rounds: int, run_ms: int = RUN_MS) -> Counter[str]:
    """Let the agent do what it holds, round by round; how much each key was handed."""
    handed: Counter[str] = Counter()
    for _ in range(rounds):
        play.later(run_ms)
        results = [AttemptEnded(lease, Payload()) for lease in play.agent(agent).leases]
        play >> frame(agent, results=results)
        handed.update(assign.task.spec.fairness_key for assign in play.heard(Assign))
        play.skip()
    return handed


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 3.0), (2.0, 0.5)])
def test_shares_are_those_of_the_weights(fair: Play, weights: tuple[float, float]) -> None:
    for key, weight in zip("ab", weights, strict=True):
        flood(fair, 150, fairness_key=key, fairness_weight=weight)
    fair >> hello("a1", slots=2)
    handed = run(fair.skip(), "a1", 75)
    share = weights[0] / sum(weights)
    assert handed["a"] == pytest.approx(150 * share, rel=0.1)


def test_a_key_that_runs_longer_gets_fewer_turns(fair: Play) -> None:
    for key in "ab":
        flood(fair, 80, fairness_key=key)
    fair >> hello("a1")
    work = Counter({"a": 0, "b": 0})
    fair.skip()
    for _ in range(60):
        (task,) = fair.agent("a1").leases.values()
        assert task is not None
        key = task.spec.fairness_key
        run_ms = 400 if key == "a" else 100
        work[key] += run_ms
        run(fair, "a1", 1, run_ms)
    assert work["a"] == pytest.approx(work["b"], rel=0.1)


def test_the_flood_of_one_key_delays_no_other(fair: Play) -> None:
    flood(fair, 300, fairness_key="flood")
    fair >> hello("a1")
    run(fair.skip(), "a1", 10)
    fair >> submit("small", fairness_key="small")
    run(fair, "a1", 2)
    assert "small" not in [
        fair.task_name(task.task_id) for task in fair.engine.tasks.values() if task.queue_stamp
    ]


def test_a_key_that_was_idle_comes_back_without_a_grudge(fair: Play) -> None:
    for key in "ab":
        flood(fair, 10, fairness_key=key)
    flood(fair, 200, fairness_key="c")
    fair >> hello("a1")
    run(fair.skip(), "a1", 25)  # a and b are done, c goes on alone.
    run(fair, "a1", 60)
    flood(fair, 40, fairness_key="a")
    handed = run(fair, "a1", 30)
    assert handed["a"] == pytest.approx(15, abs=1)


def test_what_was_charged_before_everything_was_idle_is_not_paid_back_after(fair: Play) -> None:
    """100 runs that were expected to take 1 s and took 10 ms would buy a key 99 s alone."""
    flood(fair, 100, fairness_key="a")
    fair >> hello("a1", slots=100) >> hello("a2")
    for key in "ab":
        flood(fair.skip(), 60, fairness_key=key)
    fair.later(10)
    results = [AttemptEnded(lease, Payload()) for lease in fair.agent("a1").leases]
    fair >> frame("a1", results=results, slots=0)
    fair.skip() >> frame("a1", slots=0)
    handed = run(fair.skip(), "a2", 40)
    assert handed["a"] == pytest.approx(20, abs=2)


def test_an_attempt_that_ends_uncharged_gives_back_what_it_did_not_use(fair: Play) -> None:
    for key in "ab":
        flood(fair, 20, fairness_key=key)
    fair >> hello("a1")
    fair.skip()
    (lease,) = fair.agent("a1").leases
    before = fair.engine.queue.keys[2]["a"].virtual
    assert before > 0
    name = next(iter(fair.engine.tasks))
    fair.tasks["first"] = name
    fair >> cancel("first")
    assert fair.skip().engine.queue.keys[2]["a"].credit == pytest.approx(before)
    fair >> frame("a1", results=[AttemptEnded(lease, Payload())])
    fair.skip()


def test_keys_are_forgotten_when_they_owe_nothing(fair: Play) -> None:
    for number in range(5):
        fair >> submit(f"t{number}", fairness_key=f"k{number}")
    fair >> hello("a1")
    assert fair.engine.queue.key_count == 5
    for number in range(5):
        fair.later(RUN_MS) >> result(f"t{number}.1")
    assert fair.skip().engine.queue.key_count == 0


def test_debts_are_void_when_the_last_task_of_a_class_is_cancelled(fair: Play) -> None:
    fair >> submit("t1", fairness_key="a") >> submit("t2", fairness_key="b") >> hello("a1")
    assert fair.engine.queue.keys[2]["a"].virtual > 0
    fair >> cancel("t2") >> beat("a1")
    assert fair.skip().engine.queue.key_count == 0
