"""What a restore from a backup means for work that was unfinished in it.

The server that the backup was made of went on: what waits here may have been run,
what runs here may have ended. Most work is done again, as after any lost lease.
UNSAFE work is not, because then two agents would have acted on it: it ends, with a
reason, and a person decides. Three cases are sure:

- it runs, and its agent comes back with the very lease: it goes on;
- it has not been eligible yet, or waits for its turn in a collaboration: nobody can have begun it;
- it runs, and its agent comes back without the lease, or not at all: it may have acted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.leases import taken
from upbeat_server.engine.model import Error, SideEffects, TaskState

if TYPE_CHECKING:
    from upbeat_server.engine.engine import Engine

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
        if task.spec.side_effects != SideEffects.UNSAFE:
            continue
        record = task.record
        if record.state == TaskState.RUNNING:
            taken(engine, task)  # If its agent says that it never had it, that is news of after the backup.
        elif record.state == TaskState.QUEUED or 0 < record.eligible_ms <= now_ms:
            engine.fail(task, Error(reasons.LEASE_LOST, _WORDS), now_ms)
