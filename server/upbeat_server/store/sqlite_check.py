"""Whether a store file holds together: its pages, its schema, and what its rows mean.

Reads one snapshot on a connection of its own that cannot write, so a server may have the
file open. What one task must obey is in ``engine/record_rules.py``; here is what ties a
task to its columns, its labels, its spec and its namespace.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, cast

import apsw
import msgspec

from upbeat_server.engine.bus.note_rules import NoteRules
from upbeat_server.engine.model import EPOCH_SHIFT, FINISHED, TaskRecord, TaskSpec
from upbeat_server.engine.note_rules import violations as note_violations
from upbeat_server.engine.record_rules import violations as record_violations
from upbeat_server.store import codec
from upbeat_server.store.codec import clean_text
from upbeat_server.store.sqlite_schema import migrate, migrations, open_beside
from upbeat_server.store.store import StoreInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Labels: TypeAlias = "list[tuple[str, str]]"

INTEGRITY_ROWS = 100
"""Damaged places that are told one by one."""

_NAMESPACES = "select namespace_id, name, epoch, clock_ms, revision from namespace order by name"
_TASKS = (
    "select task_id, state, type, priority, create_ms, end_ms, parent_id, request_id, record, spec"
    " from task left join spec using (namespace_id, task_id) where namespace_id = ? order by task_id"
)
_LABELS = (
    "select task_id, key, value from label indexed by label_task where namespace_id = ? order by task_id, key"
)
_NOTES = "select kind, key, value from note where namespace_id = ? order by kind, key"
_ORPHANS = {
    "a spec without its task": "select namespace_id, task_id from spec except"
    " select namespace_id, task_id from task",
    "notes without their namespace": "select namespace_id, 0 from note except"
    " select namespace_id, 0 from namespace",
    "tasks without their namespace": "select namespace_id, 0 from task except"
    " select namespace_id, 0 from namespace",
}
_SCHEMA = "select type, name, sql from sqlite_schema where name not like 'sqlite_%'"


class Violation(msgspec.Struct, frozen=True):
    """One thing that is wrong; ``task_id`` 0 and ``namespace`` "" where it is of none."""

    namespace: str
    task_id: int
    text: str


class Contents(msgspec.Struct):
    """What a store holds, as far as it was read."""

    namespaces: int = 0
    tasks: int = 0
    finished: int = 0
    notes: int = 0
    bytes: int = 0


class _Row(msgspec.Struct, gc=False):
    """A task as it stands in the file."""

    task_id: int
    state: int
    type: str
    priority: int
    create_ms: int
    end_ms: int
    parent_id: int
    request_id: str
    record: bytes
    spec: bytes | None


class Check:
    """One look at one file. ``contents`` is complete when ``violations`` has been read to its end."""

    def __init__(self, path: Path) -> None:
        self.contents = Contents()
        self._path = path

    def violations(self) -> Iterator[Violation]:
        """Everything that is wrong. Raises StoreInvalid or StoreUnavailable if it cannot be looked at."""
        connection = open_beside(self._path)
        try:
            connection.execute("begin")
            self.contents.bytes = int(connection.pragma("page_count")) * int(connection.pragma("page_size"))
            yield from integrity(connection)
            yield from _schema(connection)
            self.contents.notes = int(connection.execute("select count(*) from note").get)
            yield from self._meaning(connection)
        except apsw.CorruptError as error:
            yield Violation("", 0, f"the file is damaged, the rest cannot be read: {error}")
        except apsw.SQLError as error:
            yield Violation("", 0, f"the schema is not whole, the rest cannot be read: {error}")
        finally:
            connection.close()

    def _meaning(self, connection: apsw.Connection) -> Iterator[Violation]:
        for namespace_id, name, *facts in cast(
            "list[tuple[int, str, int, int, int]]", connection.execute(_NAMESPACES).fetchall()
        ):
            self.contents.namespaces += 1
            namespace = _Namespace(name, *facts)
            labels = _LabelRows(connection, namespace_id)
            for columns in connection.execute(_TASKS, (namespace_id,)):
                row = _Row(*columns)
                self.contents.tasks += 1
                self.contents.finished += row.end_ms > 0
                for text in namespace.violations(row, labels.of(row.task_id)):
                    yield Violation(namespace.name, row.task_id, text)
                for task_id in labels.strays():
                    yield Violation(namespace.name, task_id, "labels without their task")
            labels.of(-1)
            for task_id in labels.strays():
                yield Violation(namespace.name, task_id, "labels without their task")
            yield from _notes(connection, namespace_id, namespace.name)
        for text, orphans in _ORPHANS.items():
            for namespace_id, task_id in connection.execute(orphans):
                yield Violation(f"number {namespace_id}", task_id, text)


class _Namespace:
    """What the tasks of one namespace must agree on, as they are read by id."""

    def __init__(self, name: str, epoch: int, clock_ms: int, revision: int) -> None:
        self.name = name
        self._epoch = epoch
        self._clock_ms = clock_ms
        self._revision = revision
        self._create_ms = 0  # Of the task before.
        self._requests: dict[str, int] = {}
        self._dedup_keys: dict[str, int] = {}
        self._revisions: dict[int, int] = {}

    def violations(self, row: _Row, labels: Labels) -> Iterator[str]:
        """What is wrong with the next task."""
        yield from self._identity(row)
        try:
            if row.spec is None:
                yield "its spec is missing"
                return
            if not row.spec[:1] or not row.record[:1] or not row.spec[0] or not row.record[0]:
                yield "its record or its spec has no version"
                return
            record, spec = codec.decode_record(row.record), codec.decode_spec(row.spec)
        except StoreInvalid as error:
            yield str(error).partition(":")[0]
            return
        yield from record_violations(record, spec)
        yield from _columns(row, record, spec)
        yield from _fingerprint(record, spec, row.spec)
        if labels != sorted((clean_text(key), clean_text(value)) for key, value in spec.labels.items()):
            yield f"its labels are indexed as {dict(labels)}, its spec says {spec.labels}"
        yield from self._times(record)
        yield from self._shared(record, spec)

    def _identity(self, row: _Row) -> Iterator[str]:
        epoch = row.task_id >> EPOCH_SHIFT
        if not 0 < epoch <= self._epoch:
            yield f"its epoch is {epoch}, its namespace is at {self._epoch}"
        if row.task_id == epoch << EPOCH_SHIFT:
            yield "its id has no sequence"
        if row.create_ms < self._create_ms:
            yield f"it was created at {row.create_ms}, a task with a lower id later, at {self._create_ms}"
        self._create_ms = max(self._create_ms, row.create_ms)
        if row.request_id:
            first = self._requests.setdefault(row.request_id, row.task_id)
            if first != row.task_id:
                yield f"its request_id {row.request_id!r} is that of task {first:016x} too"

    def _times(self, record: TaskRecord) -> Iterator[str]:
        times = [record.create_ms, record.start_ms, record.end_ms, record.queued_since_ms]
        times += [time for attempt in record.attempts for time in (attempt.start_ms, attempt.end_ms)]
        if max(times) > self._clock_ms:
            yield f"something happened to it at {max(times)}, its namespace is at {self._clock_ms}"

    def _shared(self, record: TaskRecord, spec: TaskSpec) -> Iterator[str]:
        """What no two tasks may share."""
        if not 0 < record.revision <= self._revision:
            yield f"its revision is {record.revision}, its namespace is at {self._revision}"
        first = self._revisions.setdefault(record.revision, record.task_id)
        if first != record.task_id:
            yield f"its revision {record.revision} is that of task {first:016x} too"
        if spec.dedup_key and record.state not in FINISHED:
            first = self._dedup_keys.setdefault(spec.dedup_key, record.task_id)
            if first != record.task_id:
                yield f"task {first:016x} is unfinished too and has the same dedup_key"


class _LabelRows:
    """The labels of a namespace, read beside its tasks in the same order."""

    def __init__(self, connection: apsw.Connection, namespace_id: int) -> None:
        self._rows = connection.execute(_LABELS, (namespace_id,))
        self._next = next(self._rows, None)
        self._strays: dict[int, None] = {}

    def of(self, task_id: int) -> Labels:
        """The labels of the next task, by key; -1 passes over all that are left."""
        found: Labels = []
        while self._next is not None and (task_id < 0 or self._next[0] <= task_id):
            owner, key, value = self._next
            if owner == task_id:
                found.append((str(key), str(value)))
            else:
                self._strays[owner] = None
            self._next = next(self._rows, None)
        return sorted(found)

    def strays(self) -> list[int]:
        """Ids that have labels and are no task, since the last call."""
        strays, self._strays = self._strays, {}
        return list(strays)


def _notes(connection: apsw.Connection, namespace_id: int, namespace: str) -> Iterator[Violation]:
    """What the notes of a namespace must obey."""
    rules = NoteRules()
    for kind, key, value in connection.execute(_NOTES, (namespace_id,)):
        note = str(kind), str(key), value
        for text in chain(note_violations(*note), rules.violations(*note)):
            yield Violation(namespace, 0, text)
    for text in rules.left_over():
        yield Violation(namespace, 0, text)


def integrity(connection: apsw.Connection) -> Iterator[Violation]:
    """What SQLite itself finds wrong with the pages and indexes."""
    for (text,) in connection.execute(f"pragma integrity_check({INTEGRITY_ROWS})"):
        if text != "ok":
            yield Violation("", 0, f"the file is damaged: {text}")


def _schema(connection: apsw.Connection) -> Iterator[Violation]:
    """Tables and indexes are those of this release."""
    wanted = apsw.Connection(":memory:")
    migrate(wanted, migrations())
    expected = {(kind, name): sql for kind, name, sql in wanted.execute(_SCHEMA)}
    wanted.close()
    found = {(kind, name): sql for kind, name, sql in connection.execute(_SCHEMA)}
    for kind, name in sorted(expected.keys() | found.keys()):
        if (kind, name) not in found:
            yield Violation("", 0, f"the {kind} {name} is missing")
        elif expected.get((kind, name)) != found[kind, name]:
            yield Violation("", 0, f"the {kind} {name} is not that of this release")


def _fingerprint(record: TaskRecord, spec: TaskSpec, spec_bytes: bytes) -> Iterator[str]:
    """It tells a repeat from a reuse, so only what was submitted has one."""
    if record.parent_id:
        if record.fingerprint:
            yield "it is a child and has a fingerprint, as if it had been submitted"
    # Before traces were left out of it, it was that of the spec as it is.
    elif record.fingerprint not in (codec.fingerprint_of(spec, spec_bytes), codec.fingerprint(spec_bytes)):
        yield "its fingerprint is not that of its spec"


def _columns(row: _Row, record: TaskRecord, spec: TaskSpec) -> Iterator[str]:
    """What stands in columns is what the bytes say."""
    pairs = {
        "task_id": (row.task_id, record.task_id),
        "state": (row.state, record.state),
        "type": (row.type, clean_text(spec.type)),
        "priority": (row.priority, spec.priority),
        "create_ms": (row.create_ms, record.create_ms),
        "end_ms": (row.end_ms, record.end_ms),
        "parent_id": (row.parent_id, record.parent_id),
        "request_id": (row.request_id, clean_text(record.request_id)),
    }
    for name, (column, meant) in pairs.items():
        if column != meant:
            yield f"its column {name} says {column!r}, its bytes say {meant!r}"
