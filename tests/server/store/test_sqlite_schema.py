from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from tests.support.rows import batch, first_row
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.sqlite_schema import (
    APPLICATION_ID,
    check_sqlite,
    migrate,
    migrations,
    open_reader,
    open_writer,
)
from upbeat_server.store.store import StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def tables_of(connection: apsw.Connection) -> set[str]:
    return {
        str(name) for (name,) in connection.execute("select name from sqlite_schema where type = 'table'")
    }


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "4.0.0", "3.100.0"])
def test_a_sqlite_without_the_wal_bug_is_used(version: str) -> None:
    check_sqlite(version)


@pytest.mark.parametrize("version", ["3.51.2", "3.40.1", "3.9.0"])
def test_a_sqlite_with_the_wal_bug_is_refused(version: str) -> None:
    with pytest.raises(StoreInvalid, match=r"3\.51\.3 or newer is needed: upgrade apsw"):
        check_sqlite(version)


@pytest.mark.parametrize("version", range(len(migrations())))
def test_a_file_of_every_older_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    steps = migrations()
    with_old = open_file(tmp_path / "old.db", steps[:version])
    with_all = open_file(tmp_path / "new.db", steps)
    migrate(with_old, steps)
    schema = "select type, name, sql from sqlite_schema order by name"
    assert with_old.execute(schema).fetchall() == with_all.execute(schema).fetchall()
    assert with_old.pragma("user_version") == len(steps)
    assert with_old.pragma("application_id") == APPLICATION_ID
    migrate(with_old, steps)


def open_file(path: Path, steps: list[str]) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    migrate(connection, steps)
    return connection


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "x.db"))
    broken = ["create table a (x)", "create table b (x); insert into nowhere values (1)"]
    with pytest.raises(apsw.SQLError):
        migrate(connection, broken)
    assert tables_of(connection) == {"a"}
    assert connection.pragma("user_version") == 1
    assert not connection.in_transaction
    migrate(connection, ["create table a (x)", "create table c (x)"])
    assert tables_of(connection) == {"a", "c"}


async def test_tasks_survive_a_migration(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "x.db")
    await store.open()
    await store.adopt("default")
    await store.commit([batch(first_row(1))])
    await store.close()
    steps = [*migrations(), "alter table task add column colour text"]
    connection = open_writer(tmp_path / "x.db", steps)
    assert connection.execute("select task_id, colour from task").fetchall() == [(1, None)]
    connection.close()
    known = len(migrations())
    words = f"has schema version {known + 1}, this release knows {known}: upgrade upbeat"
    with pytest.raises(StoreInvalid, match=words):
        await store.open()


@pytest.mark.parametrize(
    "content", [b"hello", b"SQLite format 3\0", b"\0" * 5_000, b"not a database\n" * 1_000]
)
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(StoreInvalid, match="is not a SQLite file: give another path"):
        await SqliteStore(path).open()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "sql", ["create table cats (name)", "pragma application_id = 7", "pragma user_version = 3"]
)
async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "x.db"
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()
    content = path.read_bytes()
    with pytest.raises(StoreInvalid, match="belongs to another program"):
        await SqliteStore(path).open()
    assert path.read_bytes() == content


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    store = SqliteStore(tmp_path / "x.db")
    await store.open()
    assert await store.namespaces() == []
    await store.close()


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match=r"nowhere does not exist: create it"):
        await SqliteStore(tmp_path / "nowhere" / "x.db").open()


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="is a directory"):
        await SqliteStore(tmp_path).open()


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    content = bytearray(path.read_bytes())
    content[100:4_096] = b"\xff" * 3_996
    path.write_bytes(content)
    with pytest.raises(StoreInvalid, match="is damaged"):
        await store.open()


async def test_a_store_that_could_not_open_can_be_opened_later(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database\n" * 1_000)
    store = SqliteStore(path)
    with pytest.raises(StoreInvalid):
        await store.open()
    path.unlink()
    await store.open()
    await store.close()


def test_opening_waits_in_vain_for_a_reader_that_holds_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upbeat_server.store.sqlite_schema.BUSY_TIMEOUT_MS", 1)
    path = tmp_path / "x.db"
    writer = open_writer(path, migrations())
    other = open_reader(path)
    other.execute("begin")
    other.execute("select count(*) from task").fetchall()
    writer.execute("insert into namespace (name, epoch, clock_ms, revision) values ('x', 1, 0, 0)")
    with pytest.raises(StoreUnavailable, match="is being read by another program"):
        open_writer(path, migrations())
    other.execute("rollback")
    open_writer(path, migrations()).close()
    other.close()
    writer.close()
