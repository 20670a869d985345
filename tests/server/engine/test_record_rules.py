"""Each rule of a stored task is broken once, and that rule says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from upbeat_server.engine.model import (
    Attempt,
    AttemptOutcome,
    Error,
    Payload,
    RetryPolicy,
    SideEffects,
    TaskRecord,
    TaskSpec,
    TaskState,
)
from upbeat_server.engine.record_rules import violations

Damage = Callable[[TaskRecord], object]

SPEC = TaskSpec("review", attempt_timeout_ms=1_000, retry=RetryPolicy(max_attempts=2))
UNSAFE = TaskSpec("review", attempt_timeout_ms=1_000, side_effects=SideEffects.UNSAFE)
BROKEN = Error("BROKEN", "it broke")


def tried(*outcomes: int) -> list[Attempt]:
    """Attempts that lasted 10 ms each, from 100 on."""
    return [
        Attempt(number, "a1", 90 + 10 * number, 100 + 10 * number if outcome else 0, outcome)
        for number, outcome in enumerate(outcomes, 1)
    ]


def task(state: int, *outcomes: int, **fields: object) -> TaskRecord:
    """A task created at 50 whose attempts ended so."""
    record = TaskRecord(1 << 40 | 1, state, 50, attempt=len(outcomes), attempts=tried(*outcomes)[-10:])
    record.start_ms = 100 if outcomes else 0
    record.failures = sum(
        outcome in (AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT) for outcome in outcomes
    )
    record.lease_losses = outcomes.count(AttemptOutcome.LEASE_LOST)
    for name, value in fields.items():
        setattr(record, name, value)
    return record


LOST, RETURNED, FAILED = AttemptOutcome.LEASE_LOST, AttemptOutcome.RETURNED, AttemptOutcome.FAILED
RUNS, DONE, CANCELLED = AttemptOutcome.RUNNING, AttemptOutcome.COMPLETED, AttemptOutcome.CANCELLED
TIMED_OUT = AttemptOutcome.TIMED_OUT


def pending() -> TaskRecord:
    return task(TaskState.PENDING, FAILED, eligible_ms=500, error=BROKEN)


def queued() -> TaskRecord:
    return task(TaskState.QUEUED, LOST, queued_since_ms=110, error=BROKEN)


def running() -> TaskRecord:
    return task(TaskState.RUNNING, RETURNED, RUNS, attempt_deadline_ms=1_110)


def completed() -> TaskRecord:
    return task(TaskState.COMPLETED, FAILED, DONE, end_ms=120, accepted_attempt=2, output=Payload("", b"x"))


def failed() -> TaskRecord:
    return task(TaskState.FAILED, FAILED, FAILED, end_ms=120, accepted_attempt=2, error=BROKEN)


def cancelled() -> TaskRecord:
    return task(TaskState.CANCELLED, CANCELLED, end_ms=110, error=BROKEN)


def long() -> TaskRecord:
    return task(TaskState.QUEUED, *[RETURNED] * 14, queued_since_ms=240)


@pytest.mark.parametrize("make", [pending, queued, running, completed, failed, cancelled, long])
def test_a_sound_task_breaks_no_rule(make: Callable[[], TaskRecord]) -> None:
    assert list(violations(make(), SPEC)) == []


def test_an_attempt_that_a_total_timeout_ended_is_not_charged() -> None:
    record = task(TaskState.FAILED, FAILED, TIMED_OUT, end_ms=120, error=BROKEN, failures=1)
    assert list(violations(record, SPEC)) == []


def put(**fields: object) -> Damage:
    return lambda record: change(record, fields)


def put_last(**fields: object) -> Damage:
    return lambda record: change(record.attempts[-1], fields)


def put_first(**fields: object) -> Damage:
    return lambda record: change(record.attempts[0], fields)


def change(struct: object, fields: dict[str, object]) -> None:
    for name, value in fields.items():
        setattr(struct, name, value)


@pytest.mark.parametrize(
    ("make", "damage", "words"),
    [
        (queued, put(state=9), "its state is 9, which is none"),
        (queued, put(create_ms=0), "no time of creation"),
        (queued, put(start_ms=0), "leased 1 times and its start is 0"),
        (queued, put(create_ms=101, queued_since_ms=110), "before it was created at 101"),
        (completed, put(end_ms=0), "is COMPLETED and its end is 0"),
        (queued, put(end_ms=7), "is QUEUED and its end is 7"),
        (completed, put(end_ms=60), "ended at 60, before it was created or started"),
        (queued, put(attempt=70_000), "leased 70000 times, which cannot be"),
        (queued, put(attempt=2), "leased 2 times and remembers the attempts [1]"),
        (long, lambda record: record.attempts.pop(4), "leased 14 times and remembers the attempts [5, 6,"),
        (running, put_first(attempt=2), "remembers the attempts [2, 2]"),
        (queued, put_last(outcome=42), "attempt 1 has the outcome 42, which is none"),
        (running, put_last(start_ms=105), "attempt 2 started before the one before it had ended"),
        (running, put_first(end_ms=99), "attempt 1 is RETURNED, started at 100, ended at 99"),
        (running, put_last(end_ms=130), "attempt 2 is RUNNING, started at 110, ended at 130"),
        (running, put_first(outcome=RUNS, end_ms=0), "two live leases"),
        (queued, put_last(agent_id=""), "attempt 1 had no agent"),
        (completed, put_first(outcome=DONE), "two accepted results"),
        (running, put_first(outcome=DONE), "it went on after an attempt was COMPLETED"),
        (running, put_first(outcome=CANCELLED), "it went on after an attempt was CANCELLED"),
        (failed, put(failures=3), "3 attempts were charged, 2 are allowed"),
        (failed, put(failures=1), "2 attempts failed or timed out, 1 were charged"),
        (pending, put(failures=2), "1 attempts failed or timed out, 2 were charged"),
        (queued, put(lease_losses=0), "1 leases were lost, 0 are counted"),
        (long, put_last(outcome=LOST), "more attempts failed or were lost than are counted"),
        (completed, put_last(outcome=RUNS, end_ms=0), "is COMPLETED and its last attempt still runs"),
        (completed, put_last(outcome=RETURNED), "is COMPLETED and its last attempt was RETURNED"),
        (failed, put_last(outcome=DONE), "is FAILED and its last attempt was COMPLETED"),
        (completed, put(output=None), "is COMPLETED without an output"),
        (failed, put(output=Payload()), "is FAILED with an output"),
        (completed, put(error=BROKEN), "is COMPLETED with an error"),
        (cancelled, put(error=None), "is CANCELLED without an error"),
        (cancelled, put(state=TaskState.FAILED), "is FAILED and its last attempt was CANCELLED"),
        (completed, put(accepted_attempt=1), "after 2 attempts and accepted attempt 1"),
        (completed, put(accepted_attempt=0), "after 2 attempts and accepted attempt 0"),
        (failed, put_last(outcome=RETURNED), "is FAILED by attempt 2, which did not fail"),
        (failed, put(state=TaskState.CANCELLED), "is CANCELLED and accepted attempt 2"),
        (queued, put_last(outcome=RUNS, end_ms=0), "is QUEUED and an attempt runs"),
        (running, put_last(outcome=RETURNED, end_ms=120), "is RUNNING and no attempt runs"),
        (queued, put_last(outcome=CANCELLED), "is QUEUED after an attempt that was CANCELLED"),
        (queued, put(output=Payload()), "is QUEUED and has a result"),
        (queued, put(accepted_attempt=1), "is QUEUED and has a result"),
        (pending, put(eligible_ms=0), "is PENDING and eligible at 0"),
        (queued, put(eligible_ms=7), "is QUEUED and eligible at 7"),
        (queued, put(queued_since_ms=7), "is QUEUED since 7, before it was created"),
        (running, put(attempt_deadline_ms=1_109), "must end at 1109, before its time is over"),
    ],
)  # fmt: skip
def test_a_damaged_task_is_told(make: Callable[[], TaskRecord], damage: Damage, words: str) -> None:
    record = make()
    damage(record)
    found = list(violations(record, SPEC))
    assert [text for text in found if words in text], found


@pytest.mark.parametrize("outcome", [LOST, FAILED, TIMED_OUT])
def test_unsafe_work_never_goes_on_after_an_attempt_that_may_have_acted(outcome: int) -> None:
    record = task(TaskState.RUNNING, outcome, RUNS, attempt_deadline_ms=1_110)
    assert [text for text in violations(record, UNSAFE) if "UNSAFE and went on after attempt 1" in text]
    returned = task(TaskState.RUNNING, RETURNED, RUNS, attempt_deadline_ms=1_110)
    assert list(violations(returned, UNSAFE)) == []
