from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.server.store.conformance import Families, Noting, Purging, Reading, Writing
from tests.support.rows import COMPLETED, batch, first_row
from upbeat_server.store import sqlite, sqlite_reader
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.store import StoredTask, StoreUnavailable, TaskQuery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "upbeat.db")
    await store.open()
    yield store
    await store.close()


class TestNoting(Noting):
    pass


class TestFamilies(Families):
    pass


class TestWriting(Writing):
    pass


class TestReading(Reading):
    pass


class TestPurging(Purging):
    pass


async def test_a_closed_store_leaves_one_file_without_a_log(store: SqliteStore, tmp_path: Path) -> None:
    await store.adopt("default")
    await store.commit([batch(first_row(1))])
    await store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["upbeat.db", "upbeat.db.lock"]


async def test_opening_an_open_store_changes_nothing(store: SqliteStore) -> None:
    await store.adopt("default")
    await store.open()
    await store.commit([batch(first_row(1))])
    assert await store.namespaces() == ["default"]


async def test_adoption_loads_more_tasks_and_requests_than_one_page(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ADOPTION_ROWS", 7)
    monkeypatch.setattr(sqlite_reader, "NARROW_ROWS", 4)
    monkeypatch.setattr(sqlite_reader, "IDS_PER_STATEMENT", 3)
    await store.adopt("default")
    rows = [first_row(n) for n in range(1, 31)]
    rows += [first_row(n, COMPLETED, end_ms=5, request_id=f"r{n}" if n % 2 else "") for n in range(31, 51)]
    await store.commit([batch(*rows)])
    adoption = await store.adopt("default")
    assert [task.task_id for task in adoption.unfinished] == list(range(1, 31))
    assert adoption.finished_requests == [(f"r{n}", n) for n in range(31, 51, 2)]


async def test_a_wide_range_of_ends_answers_as_a_narrow_one(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_reader, "NARROW_ROWS", 3)
    await store.adopt("default")
    await store.commit([batch(*(first_row(n, COMPLETED, end_ms=100 - n) for n in range(1, 21)))])
    wide = await store.query("default", TaskQuery(end_from_ms=85, end_to_ms=95), 99)
    assert [task.task_id for task in wide] == list(range(6, 16))
    narrow = await store.query("default", TaskQuery(end_from_ms=93, end_to_ms=95), 99)
    assert [task.task_id for task in narrow] == [6, 7]


async def test_a_page_that_waits_for_close_is_answered_or_refused(store: SqliteStore) -> None:
    await store.adopt("default")
    await store.commit([batch(*(first_row(n) for n in range(1, 200)))])
    calls = [asyncio.ensure_future(store.query("default", TaskQuery(), 200)) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert [len(await call) for call in calls] == [199] * 20
    with pytest.raises(StoreUnavailable):
        await store.purge("default", 1, 0, 1)


async def test_commits_asked_for_before_close_are_finished(store: SqliteStore) -> None:
    await store.adopt("default")
    calls = [asyncio.ensure_future(store.commit([batch(first_row(n))])) for n in range(1, 50)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*calls)
    await store.open()
    assert await store.get("default", [49]) == [StoredTask(49, b"record 49", b"spec 49")]


async def test_every_commit_is_synced_and_only_the_writer_checkpoints(store: SqliteStore) -> None:
    opened = store._open()
    settings = ("journal_mode", "synchronous", "wal_autocheckpoint", "mmap_size", "fullfsync")
    writing = await asyncio.wrap_future(
        opened.writer.run(lambda connection: [connection.pragma(name) for name in settings])
    )
    assert writing == ["wal", 2, 0, 0, 1]
    for reader in (opened.points, opened.scans):
        assert await reader.run(lambda connection: connection.readonly("main"))
        assert await reader.run(lambda connection: connection.pragma("mmap_size")) == 0
