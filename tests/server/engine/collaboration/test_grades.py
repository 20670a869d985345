"""Grades of agents: what is learned, what it weighs, and that a restart does not forget it."""

from __future__ import annotations

from math import log

import pytest

from tests.support.lines import answer, collaborate, hello, spec_of
from tests.support.play import Line, Play
from upbeat_server.engine.collaboration import grades as grades_module
from upbeat_server.engine.collaboration.grades import GRADED_MIN, PRIOR, WEIGHT_MIN, Grades
from upbeat_server.engine.events import TaskGraded
from upbeat_server.engine.model import Consensus, TaskId

WORK = spec_of()


def grade(agent: str, *, correct: bool, task_id: int = 7, task_type: str = "work") -> Line:
    """Somebody knows whether an agent was right."""
    return lambda play: TaskGraded(0, TaskId(task_id), agent, task_type, correct)


def graded(agent: str, right: int, of: int) -> list[Line]:
    """So many of an agent's outcomes were right."""
    first = sum(agent.encode()) * 1_000
    return [grade(agent, correct=number < right, task_id=first + number) for number in range(of)]


def test_a_grade_is_answered_with_how_the_agent_stands(play: Play) -> None:
    play >> grade("a1", correct=True, task_id=1) >> grade("a1", correct=False, task_id=2)
    play << "graded a1: 1 of 1" << "graded a1: 1 of 2"


def test_the_last_grade_of_a_task_counts(play: Play) -> None:
    play >> grade("a1", correct=True, task_id=1) >> grade("a1", correct=False, task_id=1)
    play << "graded a1: 1 of 1" << "graded a1: 0 of 1"


def test_a_restart_forgets_no_grade(play: Play) -> None:
    play >> grade("a1", correct=True, task_id=1)
    play.skip().restart() >> grade("a1", correct=False, task_id=1) >> grade("a1", correct=True, task_id=2)
    play << "graded a1: 0 of 1" << "graded a1: 1 of 2"


def test_all_weigh_one_until_somebody_has_been_graded_often_enough() -> None:
    grades = Grades()
    for _ in range(GRADED_MIN - 1):
        grades.learn("work", "a1", correct=True)
    assert grades.weights("work", 2) == ({}, 1.0)


def test_weights_are_log_odds_of_what_is_known() -> None:
    grades = Grades()
    for number in range(40):
        grades.learn("work", "good", correct=number < 36)
        grades.learn("work", "poor", correct=number < 24)
    weights, other = grades.weights("work", 2)
    mean = 60 / 80
    good = (36 + PRIOR * mean) / (40 + PRIOR)
    assert weights["good"] == pytest.approx(log(good / (1 - good)))
    assert other == pytest.approx(log(mean / (1 - mean)))
    assert weights["good"] > other > weights["poor"] > 0


def test_choices_beyond_three_change_nothing_because_voters_are_wrong_alike() -> None:
    grades = Grades()
    for number in range(40):
        grades.learn("vote", "good", correct=number % 4 != 0)
        grades.learn("vote", "bad", correct=number % 4 == 0)
    assert grades.weights("vote", 10) == grades.weights("vote", 3) != grades.weights("vote", 2)


def test_more_choices_make_the_same_accuracy_weigh_more() -> None:
    grades = Grades()
    for number in range(40):
        grades.learn("work", "a1", correct=number < 20)
    assert grades.weights("work", 2)[0]["a1"] == WEIGHT_MIN
    assert grades.weights("work", 3)[0]["a1"] == pytest.approx(log(2))


def test_grades_are_kept_apart_by_type() -> None:
    grades = Grades()
    for _ in range(GRADED_MIN):
        grades.learn("work", "a1", correct=True)
    assert grades.weights("play", 2) == ({}, 1.0)


def test_the_agent_graded_first_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grades_module, "AGENTS_MAX", 2)
    grades = Grades()
    for name in ("a1", "a2", "a3"):
        grades.learn("work", name, correct=True)
    assert list(grades.by_type["work"]) == ["a2", "a3"]
    assert (grades_module.AGENT_NOTE, "work a1", None) in list(grades.take_notes())


def test_old_tasks_can_no_longer_be_graded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grades_module, "TASKS_MAX", 2)
    grades = Grades()
    for task_id in range(3):
        grades.grade_task(task_id, "work", "a1", correct=True)
    assert list(grades.tasks) == [1, 2]
    restored = Grades()
    restored.restore([note for note in grades.take_notes() if note[2] is not None])  # type: ignore[misc]
    assert list(restored.tasks) == [1, 2]
    assert restored.by_type["work"]["a1"].graded == 3


def test_one_who_knows_outvotes_two_who_do_not(play: Play) -> None:
    for line in (*graded("a1", 39, 40), *graded("a2", 22, 40), *graded("a3", 22, 40)):
        play >> line
    for name in ("a1", "a2", "a3"):
        play >> hello(name)
    play >> collaborate("c", Consensus(WORK, weights=3, quorum=2), distinct_agents=True)
    play.skip()
    for number in range(3):
        lease = f"c/round/0/voter/{number}.1"
        if (
            lease.removesuffix(".1") in play.tasks
            and play.tasks[lease.removesuffix(".1")] in play.engine.tasks
        ):
            play >> answer(lease, b'"yes"' if play.holders[play.lease(lease)] == "a1" else b'"no"')
    play.skip()
    assert play.stored("c").group.result.winning_value == b'"yes"'


def test_the_weights_of_a_vote_are_those_of_its_beginning(play: Play) -> None:
    for name in ("a1", "a2", "a3"):
        play >> hello(name)
    play >> collaborate("c", Consensus(WORK, weights=3, quorum=2), distinct_agents=True)
    for line in (*graded("a1", 39, 40), *graded("a2", 22, 40), *graded("a3", 22, 40)):
        play >> line
    play.skip().restart()
    for name in ("a1", "a2", "a3"):
        play >> hello(name, holds=tuple(f"c/round/0/voter/{number}.1" for number in range(3)))
    for number in range(3):
        key = f"c/round/0/voter/{number}"
        if play.tasks[key] in play.engine.tasks:
            by = play.holders[play.lease(f"{key}.1")]
            play >> answer(f"{key}.1", b'"yes"' if by == "a1" else b'"no"', by=by)
    play.skip()
    assert play.stored("c").group.result.winning_value == b'"no"'
