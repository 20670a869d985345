"""A thread that reads committed rows beside the writer, on a connection that cannot write.

The functions below run on it. Each asks for one row that holds everything, because every
row stepped to lets the interpreter lock go and waits for it again.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import msgspec

from upbeat_server.store.sqlite_plan import WHOLE, Span, plan_of
from upbeat_server.store.sqlite_schema import open_reader, sql_file
from upbeat_server.store.store import StoredTask, StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from upbeat_server.store.store import TaskQuery

NARROW_ROWS = 10_000
"""Up to this many tasks that ended in a range, they are sorted rather than the others skipped."""

IDS_PER_STATEMENT = 256
_LAST_ID = (1 << 63) - 1

_TASKS = sql_file("queries/tasks.sql")
_CREATED_BEFORE = sql_file("queries/created_before.sql")
_ENDED_FIRST = sql_file("queries/ended_first.sql")
_MEMBERS = sql_file("queries/members.sql")
_NOTES = sql_file("queries/notes.sql")
_NEWEST_TO_GO = (
    "select end_ms, task_id from task indexed by task_end where namespace_id = ? and end_ms > 0"
    " order by end_ms desc, task_id desc limit 1 offset ?"
)
_ENDED_IN_RANGE = (
    "select count(*) from (select 1 from task indexed by task_end"
    " where namespace_id = ? and end_ms >= ? and end_ms < ? limit ?)"
)
_FINISHED_REQUESTS = (
    "select json_group_array(request_id), json_group_array(task_id), max(end_ms) from ("
    "select request_id, task_id, end_ms from task indexed by task_end"
    " where namespace_id = ? and end_ms > 0 and (end_ms, task_id) > (?, ?)"
    " order by end_ms, task_id limit ?)"
)
_PASSING = (
    apsw.AbortError,
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.FullError,
    apsw.InterruptError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.ProtocolError,
)
"""Errors that say nothing about what is in the file."""

_ids = msgspec.json.Decoder(list[int]).decode
_texts = msgspec.json.Decoder(list[str]).decode
_json = msgspec.json.Encoder().encode
_T = TypeVar("_T")


class Reader:
    """One reading connection and its thread."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._connection = open_reader(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"upbeat-store-{name}")

    async def run(self, read: Callable[[apsw.Connection], _T]) -> _T:
        """What ``read`` makes of the committed rows. Raises StoreInvalid or StoreUnavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, read, self._connection)
        except _PASSING as error:
            raise StoreUnavailable(f"{self._path} cannot be read now ({error})") from error
        except Exception as error:
            # SQLite says that it is malformed, or what was read is not what was ever written: text in
            # the place of a number, a row without its spec.
            raise StoreInvalid(f"{self._path} is damaged ({error}): restore it from a backup") from error

    def stop(self) -> None:
        """Finish what was asked and close. Blocks."""
        self._thread.shutdown()
        self._connection.close()


def read_tasks(connection: apsw.Connection, namespace_id: int, task_ids: list[int]) -> list[StoredTask]:
    """The tasks of these ids that are there, in their order."""
    found: list[StoredTask] = []
    for first in range(0, len(task_ids), IDS_PER_STATEMENT):
        wanted = _json(task_ids[first : first + IDS_PER_STATEMENT]).decode()
        row = _first(connection, _TASKS, {"namespace_id": namespace_id, "task_ids": wanted})
        ids, record_sizes, spec_sizes, records, specs = row
        record_ends = accumulate(_ids(record_sizes))
        spec_ends = accumulate(_ids(spec_sizes))
        record_at = spec_at = 0
        for task_id, record_end, spec_end in zip(_ids(ids), record_ends, spec_ends, strict=True):
            found.append(StoredTask(task_id, records[record_at:record_end], specs[spec_at:spec_end]))
            record_at, spec_at = record_end, spec_end
    return found


def read_page(
    connection: apsw.Connection, namespace_id: int, query: TaskQuery, limit: int, bytes_max: int
) -> list[StoredTask]:
    """The next tasks of a query: first which ones and how large, then those that fit."""
    connection.execute("begin")  # One snapshot for both.
    try:
        plan = plan_of(namespace_id, query, _span(connection, namespace_id, query))
        row = _first(connection, plan.sql, {**plan.bindings, "limit": limit})
        return _fitting(connection, namespace_id, row, bytes_max)
    finally:
        connection.execute("rollback")


def read_members(
    connection: apsw.Connection, namespace_id: int, after_id: int, limit: int, bytes_max: int
) -> list[StoredTask]:
    """The next finished tasks whose parent is unfinished, by id; as much as ``read_page`` answers."""
    bindings = {"namespace_id": namespace_id, "after_id": after_id, "limit": limit}
    connection.execute("begin")
    try:
        return _fitting(connection, namespace_id, _first(connection, _MEMBERS, bindings), bytes_max)
    finally:
        connection.execute("rollback")


def read_notes(connection: apsw.Connection, namespace_id: int) -> list[tuple[str, str, bytes]]:
    """(kind, key, value) of all notes, by kind and key."""
    found: list[tuple[str, str, bytes]] = []
    kind = key = ""
    while True:
        bindings = {"namespace_id": namespace_id, "kind": kind, "key": key, "limit": IDS_PER_STATEMENT}
        kinds, keys, sizes, values = _first(connection, _NOTES, bindings)
        names = list(zip(_texts(kinds), _texts(keys), strict=True))
        if not names:
            return found
        at = 0
        for (kind, key), end in zip(names, accumulate(_ids(sizes)), strict=True):
            found.append((kind, key, values[at:end]))
            at = end


def read_finished_requests(connection: apsw.Connection, namespace_id: int) -> list[tuple[str, int]]:
    """(request_id, task_id) of all finished tasks that have one, by end."""
    found: list[tuple[str, int]] = []
    end_ms = task_id = 0
    while True:
        row = _first(connection, _FINISHED_REQUESTS, (namespace_id, end_ms, task_id, NARROW_ROWS))
        requests, ids, last_ms = row
        task_ids = _ids(ids)
        if not task_ids:
            return found
        found.extend(pair for pair in zip(_texts(requests), task_ids, strict=True) if pair[0])
        end_ms, task_id = last_ms, task_ids[-1]


def read_ended_first(
    connection: apsw.Connection, namespace_id: int, before_ms: int, keep: int, limit: int
) -> tuple[list[int], list[str]]:
    """Ids and request_ids of the finished tasks that are too old or too many."""
    last = _first(connection, _NEWEST_TO_GO, (namespace_id, max(0, keep)))
    end_ms, task_id = max((before_ms - 1, _LAST_ID), last or (0, 0))
    bindings = {"namespace_id": namespace_id, "end_ms": end_ms, "task_id": task_id, "limit": max(0, limit)}
    row = _first(connection, _ENDED_FIRST, bindings)
    ids, requests = row
    return _ids(ids), _texts(requests)


def _fitting(
    connection: apsw.Connection, namespace_id: int, row: tuple[str, str], bytes_max: int
) -> list[StoredTask]:
    """Of a list of ids and one of sizes, the first tasks that stay under ``bytes_max``, at least one."""
    ids, sizes = (_ids(text) for text in row)
    fitting = sum(1 for total in accumulate(sizes) if total <= bytes_max)
    return read_tasks(connection, namespace_id, ids[: max(1, fitting)])


def _first(connection: apsw.Connection, sql: str, bindings: apsw.Bindings) -> Any:
    """The one row of a statement, and the end of it.

    A statement that has not been stepped to its end holds its snapshot until its cursor is closed. That
    must not be left to whoever lets go of the cursor last: a traceback or a debugger may keep it, and all
    that this connection reads from then on would be as old as the snapshot.
    """
    cursor = connection.execute(sql, bindings)
    try:
        return cursor.fetchone()
    finally:
        cursor.close()


def _span(connection: apsw.Connection, namespace_id: int, query: TaskQuery) -> Span:
    """What the times of a query say about ids, and whether few tasks ended within them."""
    if not (query.create_from_ms or query.create_to_ms or query.end_from_ms or query.end_to_ms):
        return WHOLE
    above, up_to, is_end_narrow = 0, _LAST_ID, False
    if query.create_from_ms:
        above = _created_before(connection, namespace_id, query.create_from_ms)
    if query.create_to_ms:
        up_to = _created_before(connection, namespace_id, query.create_to_ms)
    if query.end_from_ms or query.end_to_ms:
        between = (namespace_id, max(1, query.end_from_ms), query.end_to_ms or _LAST_ID, NARROW_ROWS + 1)
        is_end_narrow = connection.execute(_ENDED_IN_RANGE, between).get <= NARROW_ROWS
    return Span(above, up_to, is_end_narrow)


def _created_before(connection: apsw.Connection, namespace_id: int, create_ms: int) -> int:
    bindings = {"namespace_id": namespace_id, "create_ms": create_ms}
    return int(connection.execute(_CREATED_BEFORE, bindings).get)
