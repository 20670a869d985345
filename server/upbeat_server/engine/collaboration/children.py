"""Children of a collaboration: how they are made, and what a mode is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine import bus, reasons
from upbeat_server.engine.collaboration.mode import Child, Spawn
from upbeat_server.engine.model import Error, SideEffects, TaskRecord, TaskState
from upbeat_server.engine.restored import doubted
from upbeat_server.engine.task import Task

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.collaboration.mode import Move
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.model import ContextEntry, TaskSpec

# Members of an enumeration are looked up slowly; these are asked for with every child.
UNSAFE = SideEffects.UNSAFE
PENDING, QUEUED, COMPLETED = TaskState.PENDING, TaskState.QUEUED, TaskState.COMPLETED

SPEC_BYTES = 256
"""What a spec takes besides its payloads, about: a child's size is counted before it is encoded."""


CHILD_BYTES_MAX = 6 << 20
"""Input and context of one child: an agent takes frames of 8 MiB."""


def declined(group: Group, move: Move) -> Child | None:
    """The end of a child that is never made; None if it can be.

    No agent could be sent it, or it is UNSAFE and may have been done before (``restored.py``).

    It is told at once, and after a restart again in the same place: there is no row to tell of it.
    """
    if not isinstance(move, Spawn) or move.key in group.made:
        return None
    if move.spec.side_effects == UNSAFE and _may_be_done(group, move.spec):
        return Child(move.key, 0, TaskState.FAILED, error=doubted())
    if move.held:
        # An item that was appended, and small enough at the door. After a restart a mode is told of it
        # without its payload, so that its size would say something else then.
        return None
    if group.step is not None and group.step[0] is move.spec:
        size = group.step[2]
    elif group.task.spec.context:
        size = _size_of(move.spec, _context(group, move.spec))
    else:
        size = _size_of(move.spec, move.spec.context)
    if size <= CHILD_BYTES_MAX:
        return None
    words = (
        f"input and context have {size:,} bytes together; the limit is {CHILD_BYTES_MAX:,}: let the steps "
        "before it answer less or a reference"
    )
    error = Error(reasons.TASK_TOO_LARGE, words, non_retryable=True)
    return Child(move.key, 0, TaskState.FAILED, error=error)


def _may_be_done(group: Group, spec: TaskSpec) -> bool:
    """Whether UNSAFE work may have been done elsewhere, after the backup that this is restored from."""
    return spec.collaboration is None and any(above.record.in_doubt for above in group.lineage())


def make(engine: Engine, group: Group, spawn: Spawn, now_ms: int) -> Task:
    """Make a child live and durable: queued, held, or PENDING if it is a collaboration itself."""
    parent = group.task
    step = group.step
    if step is None or step[0] is not spawn.spec:
        spec = inherited(group, spawn.spec)
        step = group.step = (spawn.spec, spec, _size_of(spec, spec.context))
    _, spec, size = step
    waits = spawn.held or spec.collaboration is not None
    record = TaskRecord(
        task_id=engine.next_id(),
        state=PENDING if waits else QUEUED,
        create_ms=now_ms,
        parent_id=parent.task_id,
        root_id=parent.record.root_id or parent.task_id,
        ordinal=len(group.made),
        member=spawn.key,
        submit_ms=parent.record.submit_ms or parent.record.create_ms,
    )
    predicate = group.predicates.get(spec.selector) if spec.selector else None
    task = Task(record, spec, engine.signature_of(spec, predicate))
    task.spec_size = size
    group.made[spawn.key] = task.task_id
    above: Group | None = group
    while above is not None:
        above.made_below += 1
        above = above.parent
    if spawn.held:
        group.held[spawn.key] = None
    attach(engine, group, task)
    engine.admit(task, now_ms)
    return task


def attach(engine: Engine, group: Group, task: Task, *, is_restored: bool = False) -> None:
    """Make a live child known to its group."""
    key = task.record.member
    task.member_of = group
    task.panel = group.seats.get(key, "")
    group.live[key] = task
    group.record.live = len(group.live)
    if key not in group.held:
        group.busy_bytes += task.spec_size
    engine.children += 1
    if task.spec.collaboration is None:  # Nobody speaks for a nested one.
        bus.join(engine, group.task.task_id, task.task_id, is_restored=is_restored)


def inherited(group: Group, spec: TaskSpec) -> TaskSpec:
    """The spec of a child: its step's, with what it has from its collaboration."""
    above, collaboration = group.task.spec, group.collaboration
    attempt_timeout_ms = spec.attempt_timeout_ms
    if collaboration.step_timeout_ms:
        attempt_timeout_ms = min(attempt_timeout_ms, collaboration.step_timeout_ms)
    if (
        not above.context
        and spec.priority == above.priority
        and spec.fairness_key == above.fairness_key
        and spec.fairness_weight == above.fairness_weight
        and spec.traceparent == above.traceparent
        and spec.attempt_timeout_ms == attempt_timeout_ms
        and not spec.dedup_key
    ):
        return spec  # Most say nothing of all that: what they have is what they would get.
    return msgspec.structs.replace(
        spec,
        priority=above.priority,
        fairness_key=above.fairness_key,
        fairness_weight=above.fairness_weight,
        traceparent=above.traceparent,
        attempt_timeout_ms=attempt_timeout_ms,
        dedup_key="",  # A child is known by its key; the door refuses one in a step, a foreign mode may not.
        context=_context(group, spec) if above.context else spec.context,
    )


def _context(group: Group, spec: TaskSpec) -> tuple[ContextEntry, ...]:
    """What a child is given besides its input: what a nested collaboration is given, its children are."""
    above = group.task.spec.context
    named = {entry.name for entry in spec.context}
    return (*spec.context, *(entry for entry in above if entry.name not in named))


def child_of(record: TaskRecord) -> Child:
    """What a mode is told of a child that has ended."""
    is_completed = record.state == COMPLETED
    return Child(
        record.member,
        record.task_id,
        record.state,
        record.attempts[-1].agent_id if record.attempts else "",
        record.output if is_completed else None,
        None if is_completed else record.error,
        ran_ms(record),
    )


def ran_ms(record: TaskRecord) -> int:
    """Time that agents spent on a task that has ended."""
    total_ms = 0
    for attempt in record.attempts:
        if attempt.end_ms > attempt.start_ms:
            total_ms += attempt.end_ms - attempt.start_ms
    return total_ms


def _size_of(spec: TaskSpec, context: tuple[ContextEntry, ...]) -> int:
    size = SPEC_BYTES + len(spec.input.data)
    for entry in context:
        size += len(entry.payload.data) + len(entry.name)
    return size
