"""What commits changed: kept as they were written, told as changes when somebody asks.

Nearly all commits happen while nobody watches and are never resumed from, so of a task in one nothing
is made until then.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.model import TaskId
from upbeat_server.runtime.snapshot import TaskSnapshot

if TYPE_CHECKING:
    from upbeat_server.engine.model import TaskSpec
    from upbeat_server.engine.task import Task
    from upbeat_server.store.store import TaskRow

_spec, _stored_state, _revision = map(attrgetter, ("spec", "stored_state", "record.revision"))

CHANGE_BYTES = 256
"""What is held on to for a change besides its record and its spec."""

COMMIT_BYTES = 512
"""The same for a commit besides its changes: one of a single task is mostly that."""


class Change(msgspec.Struct):
    """What one commit made of one task."""

    revision: int
    task_id: TaskId
    state: int
    state_before: int  # 0: the task is new.
    parent_id: int
    create_ms: int
    end_ms: int
    record: bytes
    spec: TaskSpec
    size: int  # Bytes that keeping it holds on to.

    def snapshot(self) -> TaskSnapshot:
        """The task after the commit."""
        return TaskSnapshot(self.record, self.spec)


class Commit(msgspec.Struct):
    """What one commit changed, by revision; one item of each list for each task."""

    rows: list[TaskRow]
    specs: list[TaskSpec]
    states_before: list[int]
    revisions: list[int]
    sizes: list[int]

    @property
    def revision(self) -> int:
        """Of its last change."""
        return self.revisions[-1]

    @property
    def size(self) -> int:
        """Bytes that keeping it holds on to."""
        return sum(self.sizes) + COMMIT_BYTES

    def changes(self) -> list[Change]:
        """Its changes."""
        parts = zip(self.rows, self.specs, self.states_before, self.revisions, self.sizes, strict=True)
        return [
            Change(
                revision,
                TaskId(row.task_id),
                row.state,
                before,
                row.parent_id,
                row.create_ms,
                row.end_ms,
                row.record,
                spec,
                size,
            )
            for row, spec, before, revision, size in parts
        ]


def commit_of(tasks: list[Task], rows: list[TaskRow]) -> Commit:
    """The commit of these tasks, by revision, none of which has changed since; each has its row."""
    return Commit(
        rows,
        list(map(_spec, tasks)),
        list(map(_stored_state, tasks)),
        list(map(_revision, tasks)),
        [len(row.record) + task.spec_size + CHANGE_BYTES for task, row in zip(tasks, rows, strict=True)],
    )
