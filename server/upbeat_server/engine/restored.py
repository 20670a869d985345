"""What a restore from a backup means for work that was unfinished in it.

The server that the backup was made of went on: what waits here may have been run,
what runs here may have ended. Most work is done again, as after any lost lease.
UNSAFE work is not, because then two agents would have acted on it: it ends, with a
reason, and a person decides. Three cases are sure:

- it runs, and its agent comes back with the very lease: it goes on;
- it has not been eligible yet: nobody can have begun it;
- it runs, and its agent comes back without the lease, or not at all: it may have acted.

A collaboration that ran goes on, but nobody knows how far it came elsewhere. It is in doubt
from then on: its UNSAFE steps that wait for their turn end, and those whose turn comes later
count as failed and are never made (``children.declined``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.collaboration.steps import steps_of
from upbeat_server.engine.leases import taken
from upbeat_server.engine.model import Error, GroupRecord, SideEffects, TaskState

if TYPE_CHECKING:
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.task import Task

_WORDS = (
    "restored from a backup: an agent may have done this UNSAFE work after the backup was made; "
    "submit it again if none did"
)


def settle(engine: Engine, now_ms: int) -> None:
    """End what an agent may have acted on since the backup. Before anything is handed out."""
    if not engine.is_copy:
        return
    engine.is_copy = False
    for task in list(engine.tasks.values()):
        record = task.record
        if task.spec.collaboration is not None:
            _doubt(engine, task, now_ms)
        elif task.spec.side_effects != SideEffects.UNSAFE:
            pass
        elif record.state == TaskState.RUNNING:
            taken(engine, task)  # If its agent says that it never had it, that is news of after the backup.
        elif record.state == TaskState.QUEUED or record.eligible_ms <= now_ms:
            engine.fail(task, doubted(), now_ms)


def doubted() -> Error:
    """Why UNSAFE work ends that may have been done since the backup."""
    return Error(reasons.LEASE_LOST, _WORDS, non_retryable=True)


def _doubt(engine: Engine, task: Task, now_ms: int) -> None:
    """Remember of one with UNSAFE steps that it, and all below it, may have gone on elsewhere."""
    record = task.record
    may_have_begun = record.state == TaskState.RUNNING or record.eligible_ms <= now_ms
    if record.parent_id or not may_have_begun:
        return
    if any(step.side_effects == SideEffects.UNSAFE for step in steps_of(task.spec)):
        if record.group is None:
            record.group = GroupRecord()
        record.group.in_doubt = True
        engine.persist(task)
