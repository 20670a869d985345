"""What must hold of every task that is stored, whatever happened to it.

``violations(record, spec)`` looks at one task and at nothing else, so the same rules
serve tests, the simulation after a crash, and ``upbeat check``. A rule says what the
engine never does; the numbers of the invariants are those of ``server/ARCHITECTURE.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.model import (
    ATTEMPTS_KEPT,
    ATTEMPTS_MAX,
    FINISHED,
    AttemptOutcome,
    SideEffects,
    TaskState,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat_server.engine.model import Attempt, TaskRecord, TaskSpec

_STATES = frozenset(TaskState)
_OUTCOMES = frozenset(AttemptOutcome)
_CHARGED = (AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT)


def violations(record: TaskRecord, spec: TaskSpec) -> Iterator[str]:
    """Every rule that the task breaks, as a sentence without its id; nothing if it is sound."""
    if record.state not in _STATES:
        yield f"its state is {record.state}, which is none"
        return
    yield from _family(record, spec)
    if spec.collaboration is not None:
        yield from _collaboration(record)
        return
    yield from _times(record)
    yield from _attempts(record)
    yield from _counts(record, spec)
    yield from _side_effects(record, spec)
    if record.state in FINISHED:
        yield from _end(record)
    else:
        yield from _unfinished(record, spec)


def _family(record: TaskRecord, spec: TaskSpec) -> Iterator[str]:
    """A child has a parent, a root and a place; only a collaboration has a group (13)."""
    if bool(record.parent_id) != bool(record.root_id) or bool(record.parent_id) != bool(record.member):
        yield f"its parent is {record.parent_id}, its root {record.root_id}, its place {record.member!r}"
    if record.parent_id >= record.task_id or record.root_id > (record.parent_id or 0):
        yield "it is older than its parent, or that than its root"
    if bool(record.submit_ms) != bool(record.parent_id) or record.submit_ms > record.create_ms:
        yield f"it was created at {record.create_ms}, its root was submitted at {record.submit_ms}"
    if record.group is not None and spec.collaboration is None:
        yield "it is no collaboration and has a group"


def _collaboration(record: TaskRecord) -> Iterator[str]:
    """No agent ever holds a collaboration; it has a result exactly when it has decided (13)."""
    if record.attempt or record.attempts or record.failures or record.lease_losses:
        yield "it is a collaboration and was leased"
    if record.state == TaskState.QUEUED:
        yield "it is a collaboration and QUEUED"
    if bool(record.end_ms) != (record.state in FINISHED):
        yield f"it is {_name(record)} and its end is {record.end_ms}"
    if record.state == TaskState.RUNNING and (record.group is None or not record.start_ms):
        yield "it is a collaboration that runs and never began"
    is_completed = record.state == TaskState.COMPLETED
    if is_completed != (record.output is not None) or (is_completed and record.error is not None):
        yield f"it is {_name(record)}, which does not go with its output and error"
    if record.state in FINISHED and not is_completed and record.error is None:
        yield f"it is {_name(record)} without an error"
    began = record.group is not None
    has_result = record.group is not None and record.group.result is not None
    if began and has_result != (record.state in FINISHED):
        yield f"it is {_name(record)} and {'has' if has_result else 'has no'} result"


def _times(record: TaskRecord) -> Iterator[str]:
    """Created, started, ended, in this order (5)."""
    if record.create_ms <= 0:
        yield "it has no time of creation"
    if bool(record.start_ms) != bool(record.attempt):
        yield f"it was leased {record.attempt} times and its start is {record.start_ms}"
    if record.start_ms and record.start_ms < record.create_ms:
        yield f"it started at {record.start_ms}, before it was created at {record.create_ms}"
    if bool(record.end_ms) != (record.state in FINISHED):
        yield f"it is {_name(record)} and its end is {record.end_ms}"
    if record.end_ms and record.end_ms < max(record.create_ms, record.start_ms):
        yield f"it ended at {record.end_ms}, before it was created or started"


def _attempts(record: TaskRecord) -> Iterator[str]:
    """Numbered without gaps, one after the other, all but the last ended (3).

    One that was hedged went on beside those after it; if it completed, it is the last (17).
    """
    attempts = record.attempts
    if not 0 <= record.attempt <= ATTEMPTS_MAX:
        yield f"it was leased {record.attempt} times, which cannot be"
        return
    kept = min(record.attempt, ATTEMPTS_KEPT)
    numbers = [attempt.attempt for attempt in attempts]
    overtaking = _overtaking(record)
    ordered = attempts if overtaking is None else sorted(attempts, key=lambda attempt: attempt.attempt)
    if [attempt.attempt for attempt in ordered] != list(range(record.attempt - kept + 1, record.attempt + 1)):
        yield f"it was leased {record.attempt} times and remembers the attempts {numbers}"
    before_ms = record.start_ms
    for attempt in ordered:
        name = f"attempt {attempt.attempt}"
        if attempt.outcome not in _OUTCOMES:
            yield f"{name} has the outcome {attempt.outcome}, which is none"
        if attempt.start_ms < before_ms:
            yield f"{name} started before the one before it had ended"
        is_running = attempt.outcome == AttemptOutcome.RUNNING
        if is_running != (not attempt.end_ms) or (attempt.end_ms and attempt.end_ms < attempt.start_ms):
            outcome = _outcome(attempt.outcome)
            yield f"{name} is {outcome}, started at {attempt.start_ms}, ended at {attempt.end_ms}"
        if not attempt.agent_id:
            yield f"{name} had no agent"
        goes_on = attempt.outcome == AttemptOutcome.HEDGED or attempt is overtaking
        before_ms = attempt.start_ms if goes_on else attempt.end_ms or attempt.start_ms
    yield from _outcomes_of(record)


def _overtaking(record: TaskRecord) -> Attempt | None:
    """The hedged attempt that completed before those after it, if that is how the task ended."""
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.outcome != AttemptOutcome.COMPLETED or last.attempt == record.attempt:
        return None
    return last


def _outcomes_of(record: TaskRecord) -> Iterator[str]:
    """What ends a task, or goes on, is nothing that another attempt follows (2, 3)."""
    outcomes = [attempt.outcome for attempt in record.attempts]
    if AttemptOutcome.RUNNING in outcomes[:-1]:
        yield "an attempt runs that is not the last: two live leases"
    if outcomes.count(AttemptOutcome.COMPLETED) > 1:
        yield "two attempts completed: two accepted results"
    if outcomes[-1:] == [AttemptOutcome.HEDGED]:
        yield "its last attempt was hedged, and no other was begun beside it"
    if AttemptOutcome.COMPLETED in outcomes[:-1]:
        yield "it went on after an attempt was COMPLETED"
    before = outcomes[:-1] if _overtaking(record) is None else outcomes[:-2]
    if AttemptOutcome.CANCELLED in before:
        yield "it went on after an attempt was CANCELLED"


def _counts(record: TaskRecord, spec: TaskSpec) -> Iterator[str]:
    """What is counted is what happened."""
    if record.failures > spec.retry.max_attempts:
        yield f"{record.failures} attempts were charged, {spec.retry.max_attempts} are allowed"
    charged = sum(attempt.outcome in _CHARGED for attempt in record.attempts)
    # A total timeout ends the attempt and the task without a charge.
    uncharged = int(_ended_by_itself(record, AttemptOutcome.TIMED_OUT) and not record.accepted_attempt)
    lost = sum(attempt.outcome == AttemptOutcome.LEASE_LOST for attempt in record.attempts)
    if record.attempt <= ATTEMPTS_KEPT:
        if not charged - uncharged <= record.failures <= charged:
            yield f"{charged} attempts failed or timed out, {record.failures} were charged"
        if lost != record.lease_losses:
            yield f"{lost} leases were lost, {record.lease_losses} are counted"
    elif record.failures < charged - uncharged or record.lease_losses < lost:
        yield "more attempts failed or were lost than are counted"


def _side_effects(record: TaskRecord, spec: TaskSpec) -> Iterator[str]:
    """UNSAFE work goes on only from attempts that were surely never begun (6); only NONE is hedged (17)."""
    hedged = any(attempt.outcome == AttemptOutcome.HEDGED for attempt in record.attempts)
    if (hedged or _overtaking(record) is not None) and spec.side_effects != SideEffects.NONE:
        yield "it was run twice at a time, which its side effects do not allow"
    if spec.side_effects != SideEffects.UNSAFE:
        return
    acted = [
        attempt.attempt for attempt in record.attempts[:-1] if attempt.outcome != AttemptOutcome.RETURNED
    ]
    if acted:
        yield f"it is UNSAFE and went on after attempt {acted[0]}, which may have acted"


def _end(record: TaskRecord) -> Iterator[str]:
    """One terminal state, and what came with it (2, 5)."""
    last = record.attempts[-1].outcome if record.attempts else None
    if last == AttemptOutcome.RUNNING:
        yield f"it is {_name(record)} and its last attempt still runs"
    is_completed = record.state == TaskState.COMPLETED
    if is_completed != (last == AttemptOutcome.COMPLETED):
        yield f"it is {_name(record)} and its last attempt was {'none' if last is None else _outcome(last)}"
    if is_completed != (record.output is not None):
        yield f"it is {_name(record)} {'without' if is_completed else 'with'} an output"
    if is_completed != (record.error is None):
        yield f"it is {_name(record)} {'with' if is_completed else 'without'} an error"
    if last == AttemptOutcome.CANCELLED and record.state != TaskState.CANCELLED:
        yield f"it is {_name(record)} and its last attempt was CANCELLED"
    accepted = record.accepted_attempt
    overtaking = _overtaking(record)
    last_attempt = record.attempt if overtaking is None else overtaking.attempt
    if accepted not in (0, last_attempt) or (is_completed and not accepted):
        yield f"it is {_name(record)} after {record.attempt} attempts and accepted attempt {accepted}"
    elif accepted and not is_completed and last not in _CHARGED:
        yield f"it is {_name(record)} by attempt {accepted}, which did not fail"
    if accepted and record.state == TaskState.CANCELLED:
        yield f"it is CANCELLED and accepted attempt {accepted}"


def _unfinished(record: TaskRecord, spec: TaskSpec) -> Iterator[str]:
    """A task that waits or runs has no result, and exactly what its state needs."""
    last = record.attempts[-1] if record.attempts else None
    runs = last is not None and last.outcome == AttemptOutcome.RUNNING
    if runs != (record.state == TaskState.RUNNING):
        yield f"it is {_name(record)} and {'an' if runs else 'no'} attempt runs"
    if last is not None and last.outcome in (AttemptOutcome.COMPLETED, AttemptOutcome.CANCELLED):
        yield f"it is {_name(record)} after an attempt that was {_outcome(last.outcome)}"
    if record.output is not None or record.accepted_attempt:
        yield f"it is {_name(record)} and has a result"
    is_held = record.state == TaskState.PENDING and record.parent_id and not record.attempt
    if (record.state == TaskState.PENDING) != bool(record.eligible_ms) and not is_held:
        yield f"it is {_name(record)} and eligible at {record.eligible_ms}"
    if record.state == TaskState.QUEUED and record.queued_since_ms < record.create_ms:
        yield f"it is QUEUED since {record.queued_since_ms}, before it was created"
    if runs and last is not None and record.attempt_deadline_ms < last.start_ms + spec.attempt_timeout_ms:
        yield f"its attempt must end at {record.attempt_deadline_ms}, before its time is over"


def _ended_by_itself(record: TaskRecord, outcome: AttemptOutcome) -> bool:
    return (
        record.state == TaskState.FAILED
        and record.attempts[-1:] != []
        and (record.attempts[-1].outcome == outcome)
    )


def _name(record: TaskRecord) -> str:
    return TaskState(record.state).name


def _outcome(outcome: int) -> str:
    return AttemptOutcome(outcome).name if outcome in _OUTCOMES else str(outcome)
