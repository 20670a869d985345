from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from upbeat import Task, TaskState
from upbeat.task import AttemptRecord, task_of
from upbeat.v1.task_pb2 import Task as TaskMessage
from upbeat_server.commands.demo.ledger import Spread, account

START = datetime(2026, 1, 1, tzinfo=UTC)


def attempt(outcome: str, agent: str = "a-1", took_s: float = 2.0) -> AttemptRecord:
    return AttemptRecord(1, agent, "l", START, START + timedelta(seconds=took_s), outcome, None)


def task(task_id: str, *attempts: AttemptRecord, state: TaskState = TaskState.COMPLETED) -> Task:
    plain = task_of(TaskMessage(task_id=task_id))
    return replace(
        plain,
        type="t",
        state=state,
        attempts=attempts,
        attempt_count=len(attempts),
        create_time=START - timedelta(seconds=1),
        start_time=START,
    )


def test_what_was_done_once_is_complete() -> None:
    ledger = account([task("1", attempt("COMPLETED")), task("2", attempt("COMPLETED"))], {"1", "2"})
    assert ledger.is_complete
    assert (ledger.tasks, ledger.repeated) == (2, 0)
    assert (ledger.types["t"].waits.samples, ledger.types["t"].runs.samples) == ([1.0, 1.0], [2.0, 2.0])


def test_a_lost_attempt_that_was_done_again_is_complete() -> None:
    ledger = account([task("1", attempt("LEASE_LOST", "a-1", 5), attempt("COMPLETED", "a-2"))], {"1"})
    assert ledger.is_complete
    assert ledger.repeated == 1
    assert ledger.agents["a-1"].outcomes == {"LEASE_LOST": 1}
    assert ledger.agents["a-1"].busy_s == 0
    assert ledger.agents["a-2"].busy_s == 2


@pytest.mark.parametrize(
    ("tasks", "acknowledged", "fault"),
    [
        ([], {"1"}, "missing"),
        ([task("1", attempt("COMPLETED"))], set(), "unknown"),
        ([task("1", attempt(""), state=TaskState.RUNNING)], {"1"}, "unfinished"),
        ([task("1", attempt("COMPLETED"), attempt("COMPLETED"))], {"1"}, "not_once"),
        ([task("1")], {"1"}, "not_once"),
        ([task("1", attempt("FAILED"), state=TaskState.FAILED)], {"1"}, "not_once"),
    ],
)
def test_whatever_is_not_done_exactly_once_is_named(
    tasks: list[Task], acknowledged: set[str], fault: str
) -> None:
    ledger = account(tasks, acknowledged)
    assert not ledger.is_complete
    assert getattr(ledger, fault) == ["1"]


def test_a_task_seen_on_two_pages_counts_once() -> None:
    once = task("1", attempt("COMPLETED"))
    assert account([once, once], {"1"}).tasks == 1


def test_percentiles_of_a_spread() -> None:
    spread = Spread([float(number) for number in range(100, 0, -1)])
    assert (spread.at(0.5), spread.at(0.99), Spread().at(0.5)) == (51.0, 100.0, 0.0)
