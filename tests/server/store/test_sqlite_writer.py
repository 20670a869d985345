from __future__ import annotations

import errno
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from tests.support.disk_errors import io_error
from tests.support.rows import batch, first_row
from upbeat_server.store import sqlite_writer
from upbeat_server.store.sqlite_schema import migrations, open_writer
from upbeat_server.store.sqlite_writer import Writer
from upbeat_server.store.store import OutcomeUnknown, StaleEpoch, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 30


class Connection:
    """A real connection that counts transactions and fails when it is told to."""

    def __init__(self, real: apsw.Connection) -> None:
        self._real = real
        self.turns: list[int] = []  # Namespaces' batches in each.
        self.error: Exception | None = None
        self.system_errno = 0
        self.cut_waits_ms: list[int] = []  # How long each try to cut the log might wait for readers.

    def wal_checkpoint(self, *, mode: int) -> tuple[int, int]:
        if mode == apsw.SQLITE_CHECKPOINT_TRUNCATE:
            self.cut_waits_ms.append(int(self._real.pragma("busy_timeout")))
        return self._real.wal_checkpoint(mode=mode)

    def execute(self, sql: str, bindings: Any = None) -> apsw.Cursor:
        if sql.startswith("insert into turn"):
            if self.error is not None:
                raise self.error
            self.turns.append(bindings[0].count("[") - 1)
        return self._real.execute(sql, bindings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Gate:
    """Work that holds the writing thread until it is let go."""

    def __init__(self, writer: Writer) -> None:
        self._entered, self._let_go = threading.Event(), threading.Event()
        writer.run(self._wait)
        assert self._entered.wait(WAIT_S)

    def _wait(self, _: apsw.Connection) -> None:
        self._entered.set()
        assert self._let_go.wait(WAIT_S)

    def open(self) -> None:
        self._let_go.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def connection(path: Path) -> Connection:
    connection = open_writer(path, migrations())
    connection.execute("insert into namespace values (1, 'default', 1, 0, 0, 0)")
    return Connection(connection)


@pytest.fixture
def writer(connection: Connection) -> Iterator[Writer]:
    writer = Writer(connection, {"default": 1})  # type: ignore[arg-type]
    yield writer
    writer.stop()


def count(writer: Writer) -> int:
    return int(
        writer.run(lambda connection: connection.execute("select count(*) from task").get).result(WAIT_S)
    )


def test_commits_that_wait_are_written_in_one_transaction(writer: Writer, connection: Connection) -> None:
    gate = Gate(writer)
    done = [writer.commit([batch(first_row(n))]) for n in range(1, 51)]
    gate.open()
    for future in done:
        future.result(WAIT_S)
    assert connection.turns == [50]
    assert count(writer) == 50


def test_a_group_is_bounded_in_bytes(
    writer: Writer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "GROUP_BYTES_MAX", 3_000)
    gate = Gate(writer)
    sizes = (1_000, 1_000, 1_000, 9_000, 10)
    done = [writer.commit([batch(first_row(n, record=b"x" * size))]) for n, size in enumerate(sizes, 1)]
    gate.open()
    for future in done:
        future.result(WAIT_S)
    assert connection.turns == [2, 1, 1, 1]


def test_one_stale_commit_of_a_group_fails_alone(writer: Writer, connection: Connection) -> None:
    gate = Gate(writer)
    done = [writer.commit([batch(first_row(n), epoch=2 if n == 2 else 1)]) for n in (1, 2, 3)]
    gate.open()
    assert done[0].result(WAIT_S) is None
    with pytest.raises(StaleEpoch):
        done[1].result(WAIT_S)
    assert done[2].result(WAIT_S) is None
    assert connection.turns == [3, 1, 1, 1]


def test_other_work_keeps_its_place_between_commits(writer: Writer) -> None:
    gate = Gate(writer)
    writer.commit([batch(first_row(1))])
    between = writer.run(lambda connection: connection.execute("select count(*) from task").get)
    after = writer.commit([batch(first_row(2))])
    gate.open()
    assert between.result(WAIT_S) == 1
    after.result(WAIT_S)
    assert count(writer) == 2


def test_a_commit_cancelled_before_its_turn_writes_nothing(writer: Writer) -> None:
    gate = Gate(writer)
    done = [writer.commit([batch(first_row(n))]) for n in (1, 2)]
    assert done[0].cancel()
    gate.open()
    done[1].result(WAIT_S)
    with pytest.raises(CancelledError):
        done[0].result(WAIT_S)
    assert count(writer) == 1


def test_what_waits_when_it_stops_is_finished(writer: Writer, path: Path) -> None:
    gate = Gate(writer)
    done = [writer.commit([batch(first_row(n))]) for n in range(1, 9)]
    stopping = threading.Thread(target=writer.stop)
    stopping.start()
    gate.open()
    stopping.join(WAIT_S)
    assert all(future.done() for future in done)
    after = apsw.Connection(str(path))
    assert after.execute("select count(*) from task").get == 8
    after.close()


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (apsw.FullError("database or disk is full"), 0),
        (apsw.ReadOnlyError("attempt to write a readonly database"), 0),
        (apsw.BusyError("database is locked"), 0),
        (io_error(apsw.SQLITE_IOERR_WRITE), errno.EROFS),
        (io_error(apsw.SQLITE_IOERR_WRITE), errno.EDQUOT),
    ],
)
def test_what_surely_did_not_happen_can_be_tried_again(
    writer: Writer, connection: Connection, error: Exception, number: int
) -> None:
    connection.error, connection.system_errno = error, number
    with pytest.raises(StoreUnavailable, match="cannot be written now"):
        writer.commit([batch(first_row(1))]).result(WAIT_S)
    connection.error = None
    writer.commit([batch(first_row(1))]).result(WAIT_S)
    assert count(writer) == 1


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (io_error(apsw.SQLITE_IOERR_FSYNC), errno.EIO),
        (io_error(apsw.SQLITE_IOERR_WRITE), errno.EIO),
        (io_error(apsw.SQLITE_IOERR_FSYNC), errno.ENOSPC),
        (apsw.CorruptError("database disk image is malformed"), 0),
        (MemoryError(), 0),
    ],
)
def test_after_an_unknown_outcome_nothing_is_written_any_more(
    writer: Writer, connection: Connection, error: Exception, number: int
) -> None:
    connection.error, connection.system_errno = error, number
    with pytest.raises(OutcomeUnknown, match=r"open the store anew|is damaged .* restore it from a backup"):
        writer.commit([batch(first_row(1))]).result(WAIT_S)
    connection.error = None
    with pytest.raises(OutcomeUnknown):
        writer.commit([batch(first_row(2))]).result(WAIT_S)
    with pytest.raises(OutcomeUnknown):
        count(writer)


def test_a_row_that_cannot_be_written_does_not_stop_the_thread(writer: Writer) -> None:
    with pytest.raises(OutcomeUnknown):
        writer.commit([batch(first_row(1, priority="high"))]).result(WAIT_S)
    with pytest.raises(OutcomeUnknown):
        writer.commit([batch(first_row(2))]).result(WAIT_S)


def test_the_log_is_moved_into_the_file_as_it_grows(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 20)
    for n in range(1, 201):
        writer.commit([batch(first_row(n, record=b"x" * 3_000))]).result(WAIT_S)
    log = path.with_name("x.db-wal")
    assert log.stat().st_size < 60 * 4_096
    assert path.stat().st_size > 150 * 3_000


def test_a_log_that_a_reader_kept_is_cut_when_it_lets_go(
    writer: Writer, connection: Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(sqlite_writer, "WAL_PAGES_MAX", 60)
    reader = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    reader.execute("begin")
    assert reader.execute("select count(*) from task").get == 0
    for n in range(1, 101):
        writer.commit([batch(first_row(n, record=b"x" * 3_000))]).result(WAIT_S)
    log = path.with_name("x.db-wal")
    assert log.stat().st_size > 100 * 4_096
    # A backup reads for minutes: the commits behind a try to cut the log must not wait for it.
    assert connection.cut_waits_ms
    assert max(connection.cut_waits_ms) <= 100
    reader.execute("rollback")
    for n in range(101, 151):
        writer.commit([batch(first_row(n, record=b"x" * 3_000))]).result(WAIT_S)
    assert log.stat().st_size < 100 * 4_096
    reader.close()
