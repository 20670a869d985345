"""Rows and batches for tests of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.model import FINISHED
from upbeat_server.store.store import NamespaceBatch, TaskRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED = 2, 3, 4, 5, 6


def first_row(task_id: int, state: int = QUEUED, **columns: object) -> TaskRow:
    """A task as it is written first: with a spec, created and (if finished) ended at its id."""
    described: Mapping[str, object] = {
        "type": "review",
        "priority": 2,
        "create_ms": task_id,
        "end_ms": task_id if state in FINISHED else 0,
        "parent_id": 0,
        "record": b"record %d" % task_id,
        "spec": b"spec %d" % task_id,
        **columns,
    }
    return TaskRow(task_id, state, **described)  # type: ignore[arg-type]


def later_row(task_id: int, state: int, end_ms: int = 0, record: bytes = b"later") -> TaskRow:
    """A task as it is written again: only what may change."""
    return TaskRow(task_id, state, "", 0, 0, end_ms, 0, record)


def batch(
    *rows: TaskRow,
    namespace: str = "default",
    epoch: int = 1,
    clock_ms: int = 1,
    notes: Sequence[tuple[str, str, bytes | None]] = (),
) -> NamespaceBatch:
    """What one turn changed."""
    return NamespaceBatch(namespace, epoch, clock_ms, clock_ms, list(rows), list(notes))
