"""The store that forgets: everything in this process, nothing on disk.

For tests, trials and work that may be lost; and the oracle that the conformance
suite and the differential test hold the durable stores against, so it does the
obvious thing. Survives ``close`` and ``open`` of the same object, as a file would.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from typing import TypeVar

import msgspec

from upbeat_server.store.codec import clean_text
from upbeat_server.store.store import (
    Adoption,
    NamespaceBatch,
    Purged,
    StaleEpoch,
    StoredTask,
    StoreUnavailable,
    TaskQuery,
    TaskRow,
)

_T = TypeVar("_T", int, tuple[int, int])

SLICE_ROWS = 4_096
"""Rows a query looks at before it lets the loop turn."""


class _Namespace:
    """The tasks of one namespace, by id and by end, and its notes."""

    def __init__(self) -> None:
        self.epoch = 0
        self.clock_ms = 0
        self.revision = 0
        self.tasks: dict[int, TaskRow] = {}  # Each with its spec.
        self.ids: list[int] = []  # Sorted; purged ones stay until they are many.
        self.ended: list[tuple[int, int]] = []  # (end_ms, task_id), sorted.
        self.notes: dict[tuple[str, str], bytes] = {}

    def write(self, row: TaskRow) -> None:
        kept = self.tasks.get(row.task_id)
        if kept is None:
            self._add(row)
        else:
            if kept.end_ms:
                self.ended.pop(bisect_left(self.ended, (kept.end_ms, kept.task_id)))
            kept.state, kept.end_ms, kept.record = row.state, row.end_ms, row.record
        if row.end_ms:
            _insert(self.ended, (row.end_ms, row.task_id))

    def _add(self, row: TaskRow) -> None:
        """A row of our own: the writer may go on using the other one."""
        labels = row.labels and {clean_text(key): clean_text(value) for key, value in row.labels.items()}
        self.tasks[row.task_id] = TaskRow(
            row.task_id, row.state, clean_text(row.type), row.priority, row.create_ms, row.end_ms,
            row.parent_id, row.record, row.spec, clean_text(row.request_id), labels,
        )  # fmt: skip
        _insert(self.ids, row.task_id)

    def note(self, kind: str, key: str, value: bytes | None) -> None:
        place = clean_text(kind), clean_text(key)
        if value is None:
            self.notes.pop(place, None)
        else:
            self.notes[place] = value

    def is_member(self, task_id: int) -> bool:
        """Whether a task has a parent that is unfinished."""
        parent = self.tasks.get(self.tasks[task_id].parent_id)
        return parent is not None and not parent.end_ms

    def forget(self, count: int, limit: int) -> Purged:
        """Drop up to ``limit`` of the ``count`` tasks that ended first."""
        old = self.ended[: max(0, count)]
        going = [end for end in old if not self.is_member(end[1])][: max(0, limit)]
        gone = [self.tasks.pop(task_id) for _, task_id in going]
        dropped = set(going)
        self.ended = [end for end in old if end not in dropped] + self.ended[len(old) :]
        if len(self.ids) > 2 * len(self.tasks):
            self.ids = sorted(self.tasks)
        return Purged([row.task_id for row in gone], [row.request_id for row in gone if row.request_id])


class MemoryStore:
    """A Store in this process."""

    def __init__(self) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        self._is_open = False

    async def open(self) -> None:
        """Begin to answer."""
        self._is_open = True

    async def close(self) -> None:
        """Answer no more; what is kept stays for the next ``open``."""
        self._is_open = False

    async def namespaces(self) -> list[str]:
        """The namespaces that hold tasks or notes."""
        self._check_open()
        return sorted(name for name, space in self._namespaces.items() if space.tasks or space.notes)

    async def adopt(self, namespace: str) -> Adoption:
        """Raise the epoch and answer what there is."""
        self._check_open()
        space = self._namespaces.setdefault(clean_text(namespace), _Namespace())
        space.epoch += 1
        unfinished = [
            _stored(row) for task_id in space.ids if (row := space.tasks.get(task_id)) and not row.end_ms
        ]
        rows = [space.tasks[task_id] for _, task_id in space.ended]
        requests = [(row.request_id, row.task_id) for row in rows if row.request_id]
        members = sorted(task_id for _, task_id in space.ended if space.is_member(task_id))
        return Adoption(
            space.epoch,
            space.clock_ms,
            space.revision,
            unfinished,
            requests,
            [(kind, key, space.notes[kind, key]) for kind, key in sorted(space.notes)],
            [_stored(space.tasks[task_id]) for task_id in members],
        )

    async def commit(self, batches: list[NamespaceBatch]) -> None:
        """Write all or, when one epoch is not the current one, nothing."""
        self._check_open()
        spaces = []
        for batch in batches:
            space = self._namespaces.get(clean_text(batch.namespace))
            if space is None or space.epoch != batch.epoch:
                raise StaleEpoch(f"namespace {batch.namespace!r} is no longer at epoch {batch.epoch}")
            spaces.append(space)
        for space, batch in zip(spaces, batches, strict=True):
            space.clock_ms = max(space.clock_ms, batch.clock_ms)
            space.revision = max(space.revision, batch.revision)
            for row in batch.rows:
                space.write(row)
            for kind, key, value in batch.notes:
                space.note(kind, key, value)

    async def get(self, namespace: str, task_ids: list[int]) -> list[StoredTask | None]:
        """The tasks as asked for."""
        self._check_open()
        space = self._namespaces.get(clean_text(namespace))
        tasks = space.tasks if space else {}
        return [_stored(row) if (row := tasks.get(task_id)) else None for task_id in task_ids]

    async def query(
        self, namespace: str, query: TaskQuery, limit: int, bytes_max: int = 3 << 20
    ) -> list[StoredTask]:
        """Walk the ids in order and keep what matches."""
        self._check_open()
        found: list[StoredTask] = []
        space = self._namespaces.get(clean_text(namespace))
        query = _cleaned(query)
        after_id = query.after_id
        while space is not None and (ids := _next_ids(space.ids, after_id, query.descending)):
            for task_id in ids:
                row = space.tasks.get(task_id)
                if row is None or not matches(row, query):
                    continue
                bytes_max -= len(row.record) + len(row.spec or b"")
                if len(found) >= limit or (found and bytes_max < 0):
                    return found
                found.append(_stored(row))
            after_id = ids[-1]
            await asyncio.sleep(0)
        return found

    async def purge(self, namespace: str, before_ms: int, keep: int, limit: int) -> Purged:
        """Forget the finished tasks that are too old or too many."""
        self._check_open()
        space = self._namespaces.get(clean_text(namespace))
        if space is None:
            return Purged([], [])
        old = bisect_left(space.ended, (before_ms, 0))
        return space.forget(max(old, len(space.ended) - max(0, keep)), limit)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is not open")


def matches(row: TaskRow, query: TaskQuery) -> bool:
    """Whether a task's columns satisfy every condition of the query."""
    return (
        (not query.states or row.state in query.states)
        and (not query.types or row.type in query.types)
        and (not query.priorities or row.priority in query.priorities)
        and (not query.parent_id or row.parent_id == query.parent_id)
        and not (query.roots and row.parent_id)
        and row.create_ms >= query.create_from_ms
        and (not query.create_to_ms or row.create_ms < query.create_to_ms)
        and (not query.end_from_ms or row.end_ms >= query.end_from_ms)
        and (not query.end_to_ms or 0 < row.end_ms < query.end_to_ms)
        and all(row.labels.get(key) == value for key, value in query.labels)
    )


def _stored(row: TaskRow) -> StoredTask:
    """A task as it is answered."""
    return StoredTask(row.task_id, row.record, row.spec or b"")


def _insert(items: list[_T], item: _T) -> None:
    """Keep ``items`` sorted and without repeats. Most come in order: those go to the end at once."""
    if not items or items[-1] < item:
        items.append(item)
        return
    where = bisect_left(items, item)
    if items[where] != item:
        items.insert(where, item)


def _cleaned(query: TaskQuery) -> TaskQuery:
    types = tuple(clean_text(name) for name in query.types)
    labels = tuple((clean_text(key), clean_text(value)) for key, value in query.labels)
    return msgspec.structs.replace(query, types=types, labels=labels)


def _next_ids(ids: list[int], after_id: int, descending: bool) -> list[int]:
    """The next slice of sorted ids behind ``after_id`` in the query's direction."""
    if descending:
        end = bisect_left(ids, after_id) if after_id else len(ids)
        return ids[max(0, end - SLICE_ROWS) : end][::-1]
    start = bisect_right(ids, after_id)
    return ids[start : start + SLICE_ROWS]
