"""How collaborations end, and their children with them.

Children end first, then the parent, all in one step: none outlives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine import bus, leases, reasons
from upbeat_server.engine.collaboration.children import ran_ms
from upbeat_server.engine.collaboration.failures import output_too_large
from upbeat_server.engine.collaboration.group import CHILDREN_TOLD_MAX
from upbeat_server.engine.collaboration.modes import mode_name
from upbeat_server.engine.model import (
    FINISHED,
    AttemptOutcome,
    CollaborationResult,
    Error,
    TaskState,
)
from upbeat_server.engine.task_machine import TaskInput

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.model import Payload
    from upbeat_server.engine.task import Task

DECIDED = "its collaboration has decided without it"
_NO_RESULT = CollaborationResult()


def not_wanted() -> Error:
    """Why a child ends that its collaboration has no use for."""
    return Error(reasons.SUPERSEDED, DECIDED, non_retryable=True)


def complete(engine: Engine, group: Group, output: Payload, result: CollaborationResult, now_ms: int) -> None:
    """The mode has decided: COMPLETED."""
    most = engine.limits.bounds.group_output_bytes_max
    if len(output.data) > most:
        _, name = group.largest
        fail(engine, group, output_too_large(len(output.data), most, name), result, now_ms)
        return
    record = group.task.record
    wasted_ms = _close(engine, group, not_wanted(), now_ms)
    record.output = output
    record.error = None
    group.record.result = _told(group, result, wasted_ms)
    _leave(engine, group, TaskInput.COMPLETE, now_ms)


def fail(engine: Engine, group: Group, error: Error, result: CollaborationResult | None, now_ms: int) -> None:
    """The mode has given up, or its time is over: FAILED."""
    wasted_ms = _close(engine, group, not_wanted(), now_ms)
    group.task.record.error = error
    told = _told(group, result or _NO_RESULT, wasted_ms)
    group.record.result = _with_partial(group, told)
    _leave(engine, group, TaskInput.FAIL, now_ms)


def cancel(engine: Engine, group: Group, error: Error, now_ms: int) -> None:
    """Somebody wants it ended: CANCELLED, and all below it."""
    below = Error(error.reason, "its collaboration was cancelled", non_retryable=True)
    wasted_ms = _close(engine, group, below, now_ms)
    group.task.record.error = error
    group.record.result = _with_partial(group, _told(group, _NO_RESULT, wasted_ms))
    _leave(engine, group, TaskInput.CANCEL, now_ms)


def supersede(engine: Engine, task: Task, error: Error, now_ms: int) -> None:
    """End a child, whatever it is at; its agent is told at once.

    One may have ended in this very step, and its group not have heard of it: it stays as it is.
    """
    if task.record.state in FINISHED:
        return
    if task.group is not None:
        cancel(engine, task.group, error, now_ms)
        return
    if task.record.state == TaskState.RUNNING:
        leases.take_away(engine, task, error.reason)
        leases.end_attempt(engine, task, AttemptOutcome.CANCELLED, error, now_ms)
    task.record.error = error
    engine.move(task, TaskInput.CANCEL, now_ms)


def _close(engine: Engine, group: Group, error: Error, now_ms: int) -> int:
    """End what is live, decided as it is. Answers the time that agents spent on it."""
    wasted_ms = 0
    group.task.group = None  # From here on it hears of nothing.
    group.is_over = True
    group.waiting.clear()
    for key, child in list(group.live.items()):
        supersede(engine, child, error, now_ms)
        wasted_ms += ran_ms(child.record)
        del group.live[key]
        group.note(child.record, child.spec.name)
    group.held.clear()
    bus.close_group(engine, group.task.task_id)
    return wasted_ms


def _leave(engine: Engine, group: Group, how: TaskInput, now_ms: int) -> None:
    task = group.task
    record, totals = task.record, group.record
    record.usage = group.usage
    totals.live = 0
    totals.attempts = group.attempts
    totals.made = group.made_below
    totals.memo = b""
    del engine.groups[task.task_id]
    engine.reserved -= group.reserve
    state = engine.move(task, how, now_ms)
    wasted_ms = totals.result.wasted_ms if totals.result is not None else 0
    engine.counters.decided(mode_name(group.collaboration), state, wasted_ms)


def _told(group: Group, result: CollaborationResult, wasted_ms: int) -> CollaborationResult:
    """The result of the mode, with what the group knows: its waste is that of ended children."""
    return msgspec.structs.replace(
        result,
        mode=mode_name(group.collaboration),
        child_ids=tuple(group.made.values())[:CHILDREN_TOLD_MAX],
        wasted_ms=result.wasted_ms + wasted_ms,
    )


def _with_partial(group: Group, result: CollaborationResult) -> CollaborationResult:
    if not group.collaboration.include_partial:
        return result
    partial = tuple(sorted(group.outcomes, key=lambda outcome: outcome.ordinal))
    return msgspec.structs.replace(result, partial=partial, partial_truncated=group.partial_truncated)
