"""What a turn changed in a namespace, as rows for the store and as changes for watches."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from upbeat_server.runtime.changes import commit_of
from upbeat_server.store import codec
from upbeat_server.store.store import NamespaceBatch, TaskRow

if TYPE_CHECKING:
    from upbeat_server.engine.model import TaskSpec
    from upbeat_server.runtime.namespace import Namespace


_by_revision = attrgetter("record.revision")


def batch_of(namespace: Namespace) -> NamespaceBatch:
    """Encode each changed task once; notes come as they are kept."""
    encoded = namespace.encoded
    encode_record = codec.encode_record
    tasks = sorted(namespace.dirty.values(), key=_by_revision)
    shared: TaskSpec | None = None
    shared_bytes = b""
    for task in tasks:
        record, spec, spec_bytes = task.record, task.spec, task.spec_bytes
        if spec_bytes is None and not task.stored_state:
            if spec is not shared:  # A child: nobody submitted it. Often it is like the one before.
                shared, shared_bytes = spec, codec.encode_spec(spec)
            spec_bytes = shared_bytes
        task_id = task.task_id
        encoded[task_id] = TaskRow(
            task_id,
            record.state,
            spec.type,
            spec.priority,
            record.create_ms,
            record.end_ms,
            record.parent_id,
            encode_record(record),
            spec_bytes,
            record.request_id,
            spec.labels,
        )
    engine = namespace.engine
    rows = list(encoded.values())
    notes: list[tuple[str, str, bytes | None]] = []
    if namespace.notes:
        notes = [(kind, key, value) for (kind, key), value in namespace.notes.items()]
    return NamespaceBatch(namespace.name, engine.epoch, namespace.now_ms(), engine.revision, rows, notes)


def publish(namespace: Namespace) -> None:
    """Tell the watches what the commit changed."""
    rows = list(namespace.encoded.values())  # By revision, as the batch was.
    dirty = namespace.dirty
    tasks = list(map(dirty.__getitem__, namespace.encoded))
    commit = commit_of(tasks, rows)
    for task in tasks:
        task.stored_state = task.record.state
        task.spec_bytes = None
    namespace.revision = namespace.engine.revision
    namespace.task_watches.publish(commit, namespace.revision)
