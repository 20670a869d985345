"""What a reading connection sees is never older than the last commit before it looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
import pytest

from tests.support.rows import COMPLETED, batch, first_row
from upbeat_server.store import sqlite_reader
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.sqlite_schema import open_reader
from upbeat_server.store.store import TaskQuery

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READS: dict[str, Callable[[Any], int]] = {
    "tasks": lambda connection: len(sqlite_reader.read_tasks(connection, 1, [1, 2])),
    "page": lambda connection: len(sqlite_reader.read_page(connection, 1, TaskQuery(), 10, 1 << 20)),
    "times": lambda connection: len(
        sqlite_reader.read_page(connection, 1, TaskQuery(create_from_ms=1, end_from_ms=1), 10, 1 << 20)
    ),
    "requests": lambda connection: len(sqlite_reader.read_finished_requests(connection, 1)),
    "ended first": lambda connection: len(sqlite_reader.read_ended_first(connection, 1, 100, 10, 10)[0]),
}


class Keeper:
    """A connection whose cursors are kept, as a traceback or a debugger would keep them."""

    def __init__(self, path: Path) -> None:
        self.real = open_reader(path)
        self.kept: list[apsw.Cursor] = []

    def execute(self, sql: str, bindings: Any = None) -> apsw.Cursor:
        self.kept.append(self.real.execute(sql, bindings))
        return self.kept[-1]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_a_cursor_that_somebody_keeps_keeps_no_snapshot(
    tmp_path: Path, read: Callable[[Any], int]
) -> None:
    store = SqliteStore(tmp_path / "x.db")
    await store.open()
    await store.adopt("default")
    keeper = Keeper(tmp_path / "x.db")
    for count in (1, 2):
        await store.commit([batch(first_row(count, COMPLETED, request_id=f"r{count}"))])
        assert read(keeper) == count
    keeper.real.close(True)
    await store.close()
