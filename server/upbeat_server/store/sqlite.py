"""The durable store of one server: a SQLite file.

A commit that was answered is on disk (write-ahead log, ``synchronous = full``); it survives
``kill -9`` and a power cut. One thread writes, two read and never wait for it: one for
tasks by id, one for queries, so that a long list delays no single answer.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

import apsw
import msgspec

from upbeat_server.engine.model import FINISHED, TaskState
from upbeat_server.store import sqlite_reader
from upbeat_server.store.codec import clean_text
from upbeat_server.store.sqlite_lock import FileLock
from upbeat_server.store.sqlite_reader import Reader
from upbeat_server.store.sqlite_schema import migrations, open_writer, opening_error, sql_file
from upbeat_server.store.sqlite_writer import Writer
from upbeat_server.store.store import (
    Adoption,
    NamespaceBatch,
    Purged,
    StoredTask,
    StoreUnavailable,
    TaskQuery,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ADOPTION_ROWS = 8_192
ADOPTION_BYTES = 64 << 20
"""What is loaded at a time when a namespace is adopted."""

_ADOPT = sql_file("queries/adopt.sql")
_NAMESPACES = (
    "select name from namespace where exists"
    " (select 1 from task where task.namespace_id = namespace.namespace_id)"
    " or exists (select 1 from note where note.namespace_id = namespace.namespace_id)"
)
_UNFINISHED = tuple(int(state) for state in TaskState if state not in FINISHED)


class _Opened:
    """What exists between ``open`` and ``close``."""

    def __init__(self, path: Path, steps: Sequence[str]) -> None:
        path = path.resolve()
        with ExitStack() as undo:
            self.lock = FileLock(path)
            undo.callback(self.lock.release)
            connection = open_writer(path, steps, was_serving=self.lock.was_serving)
            undo.callback(connection.close)
            try:
                named = connection.execute("select name, namespace_id from namespace")
                self.namespace_ids: dict[str, int] = {str(name): int(number) for name, number in named}
                self.points = Reader(path, "points")
                undo.callback(self.points.stop)
                self.scans = Reader(path, "scans")
            except apsw.Error as error:
                raise opening_error(error, path) from error
            self.writer = Writer(connection, self.namespace_ids)
            self.lock.note_serving()
            undo.pop_all()

    def stop(self) -> None:
        """Readers first: the last connection to close takes the log away, and only a writer may."""
        with ExitStack() as ends:
            ends.callback(self.lock.release)
            ends.callback(self.writer.stop)
            ends.callback(self.lock.note_closing)
            ends.callback(self.scans.stop)
            ends.callback(self.points.stop)


class SqliteStore:
    """A Store in a file."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._opened: _Opened | None = None
        self._purging = asyncio.Lock()

    async def open(self) -> None:
        """Open, create or migrate the file, and sync what a killed process left behind."""
        if self._opened is None:
            self._opened = await asyncio.to_thread(_Opened, self._path, migrations())

    async def close(self) -> None:
        """Finish what was asked, checkpoint, close."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await asyncio.to_thread(opened.stop)

    async def namespaces(self) -> list[str]:
        """The namespaces that hold tasks or notes."""
        return await self._open().scans.run(_read_namespaces)

    async def adopt(self, namespace: str) -> Adoption:
        """Raise the epoch durably, then load: nobody else can write what is being read."""
        name = clean_text(namespace)
        opened = self._open()
        raised = opened.writer.run(lambda connection: _raise_epoch(connection, name))
        namespace_id, epoch, clock_ms, revision, is_copy = await asyncio.wrap_future(raised)
        opened.namespace_ids[name] = namespace_id
        unfinished: list[StoredTask] = []
        query = TaskQuery(states=_UNFINISHED)
        while page := await self._page(namespace_id, query, ADOPTION_ROWS, ADOPTION_BYTES):
            unfinished += page
            query = msgspec.structs.replace(query, after_id=page[-1].task_id)
        requests = await self._open().scans.run(
            lambda connection: sqlite_reader.read_finished_requests(connection, namespace_id)
        )
        notes = await self._open().scans.run(
            lambda connection: sqlite_reader.read_notes(connection, namespace_id)
        )
        members = await self._members(namespace_id)
        return Adoption(epoch, clock_ms, revision, unfinished, requests, notes, members, bool(is_copy))

    async def commit(self, batches: list[NamespaceBatch]) -> None:
        """Write in one transaction, together with what else waits for the disk.

        A call that is cancelled before its transaction began writes nothing; later it is
        written all the same.
        """
        await asyncio.wrap_future(self._open().writer.commit(batches))

    async def get(self, namespace: str, task_ids: list[int]) -> list[StoredTask | None]:
        """The tasks as asked for."""
        opened = self._open()
        namespace_id = opened.namespace_ids.get(clean_text(namespace))
        if namespace_id is None or not task_ids:
            return [None] * len(task_ids)
        tasks = await opened.points.run(
            lambda connection: sqlite_reader.read_tasks(connection, namespace_id, task_ids)
        )
        by_id = {task.task_id: task for task in tasks}
        return [by_id.get(task_id) for task_id in task_ids]

    async def query(
        self, namespace: str, query: TaskQuery, limit: int, bytes_max: int = 3 << 20
    ) -> list[StoredTask]:
        """The next page of a walk over the index that fits the query best."""
        namespace_id = self._open().namespace_ids.get(clean_text(namespace))
        if namespace_id is None or limit <= 0:
            return []
        return await self._page(namespace_id, query, limit, bytes_max)

    async def purge(self, namespace: str, before_ms: int, keep: int, limit: int) -> Purged:
        """Forget the finished tasks that are too old or too many."""
        namespace_id = self._open().namespace_ids.get(clean_text(namespace))
        if namespace_id is None:
            return Purged([], [])
        async with self._purging:  # Two at once would both answer the same tasks.
            task_ids, request_ids = await self._open().scans.run(
                lambda connection: sqlite_reader.read_ended_first(
                    connection, namespace_id, before_ms, keep, limit
                )
            )
            if task_ids:
                gone = msgspec.json.encode(task_ids).decode()
                removed = self._open().writer.run(lambda connection: _remove(connection, namespace_id, gone))
                await asyncio.wrap_future(removed)
        return Purged(task_ids, [request_id for request_id in request_ids if request_id])

    async def _page(
        self, namespace_id: int, query: TaskQuery, limit: int, bytes_max: int
    ) -> list[StoredTask]:
        return await self._open().scans.run(
            lambda connection: sqlite_reader.read_page(connection, namespace_id, query, limit, bytes_max)
        )

    async def _members(self, namespace_id: int) -> list[StoredTask]:
        """The finished tasks whose parent is unfinished, loaded a portion at a time."""
        members: list[StoredTask] = []
        while page := await self._members_behind(namespace_id, members[-1].task_id if members else 0):
            members += page
        return members

    async def _members_behind(self, namespace_id: int, after_id: int) -> list[StoredTask]:
        return await self._open().scans.run(
            lambda connection: sqlite_reader.read_members(
                connection, namespace_id, after_id, ADOPTION_ROWS, ADOPTION_BYTES
            )
        )

    def _open(self) -> _Opened:
        if self._opened is None:
            raise StoreUnavailable("the store is not open")
        return self._opened


def _read_namespaces(connection: apsw.Connection) -> list[str]:
    return sorted(str(name) for (name,) in connection.execute(_NAMESPACES))


def _raise_epoch(connection: apsw.Connection, name: str) -> tuple[int, int, int, int, int]:
    (row,) = connection.execute(_ADOPT, {"name": name}).fetchall()
    return cast("tuple[int, int, int, int, int]", row)


def _remove(connection: apsw.Connection, namespace_id: int, task_ids: str) -> None:
    connection.execute("insert into purge values (?, ?)", (namespace_id, task_ids))
