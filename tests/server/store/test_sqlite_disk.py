from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from tests.support.disk_errors import io_error
from tests.support.mounts import remount_read_only, small_disk
from tests.support.rows import batch, first_row
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.store import OutcomeUnknown, StoredTask, StoreUnavailable, TaskQuery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


async def fill(store: SqliteStore) -> int:
    """Commit until there is no room; the first task that found none."""
    for task_id in range(1, 1_000):
        try:
            await store.commit([batch(first_row(task_id, record=os.urandom(50_000)))])
        except StoreUnavailable:
            return task_id
    pytest.fail("a full disk took everything")


async def test_a_full_disk_refuses_commits_serves_reads_and_heals(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        (disk / "ballast").write_bytes(b"x" * (2 << 20))
        store = SqliteStore(disk / "x.db")
        await store.open()
        await store.adopt("default")
        task_id = await fill(store)
        assert task_id > 5
        assert await store.get("default", [task_id]) == [None]
        assert len(await store.query("default", TaskQuery(), 1_000, 1 << 30)) == task_id - 1
        with pytest.raises(StoreUnavailable, match="cannot be written now"):
            await store.commit([batch(first_row(task_id, record=os.urandom(50_000)))])

        (disk / "ballast").unlink()
        await store.commit([batch(first_row(task_id))])
        await store.close()
        await store.open()
        assert await store.get("default", [task_id]) == [
            StoredTask(task_id, b"record %d" % task_id, b"spec %d" % task_id)
        ]
        assert len((await store.adopt("default")).unfinished) == task_id
        await store.close()


async def test_a_read_only_disk_is_unavailable_when_it_is_opened(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        store = SqliteStore(disk / "x.db")
        await store.open()
        await store.close()
        remount_read_only(disk)
        with pytest.raises(StoreUnavailable, match="make it writable"):
            await store.open()


async def test_a_disk_without_room_for_a_store_is_unavailable(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        store = SqliteStore(disk / "x.db")
        with pytest.raises(StoreUnavailable, match="check space and permissions"):
            await store.open()


class FaultyFile(apsw.VFSFile):
    """A file whose sync fails while its file system is told so."""

    def __init__(self, disk: FaultyDisk, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xSync(self, flags: int) -> None:  # noqa: N802 - the name is SQLite's
        """Sync, or fail as a broken disk does."""
        if self._disk.is_broken:
            raise io_error(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)


class FaultyDisk(apsw.VFS):
    """The default file system of SQLite while it exists."""

    def __init__(self) -> None:
        super().__init__("faulty", base="unix", makedefault=True)
        self.is_broken = False

    def xOpen(self, name: Any, flags: list[int]) -> FaultyFile:  # noqa: N802 - the name is SQLite's
        """Open a file on it."""
        return FaultyFile(self, name, flags)


@contextmanager
def faulty_disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    try:
        yield disk
    finally:
        disk.unregister()


async def test_a_sync_that_fails_leaves_the_outcome_to_what_is_found_on_opening(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        store = SqliteStore(tmp_path / "x.db")
        await store.open()
        await store.adopt("default")
        await store.commit([batch(first_row(1))])
        disk.is_broken = True
        with pytest.raises(OutcomeUnknown):
            await store.commit([batch(first_row(2))])
        assert await store.get("default", [1]) == [StoredTask(1, b"record 1", b"spec 1")]
        disk.is_broken = False
        with pytest.raises(OutcomeUnknown):
            await store.commit([batch(first_row(3))])
        with pytest.raises(OutcomeUnknown):
            await store.adopt("default")

        await store.close()
        await store.open()
        adoption = await store.adopt("default")
        assert adoption.epoch == 2
        unfinished = [task.task_id for task in adoption.unfinished]
        assert unfinished in ([1], [1, 2])
        await store.commit([batch(first_row(4), epoch=2)])
        assert (await store.get("default", [4]))[0] is not None
        await store.close()


async def test_a_disk_that_cannot_sync_is_not_opened(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        store = SqliteStore(tmp_path / "x.db")
        disk.is_broken = True
        with pytest.raises(StoreUnavailable):
            await store.open()
        disk.is_broken = False
        await store.open()
        await store.close()
