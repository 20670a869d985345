"""A backup is whole or not there, says that it is a copy, and hands out no id twice."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import apsw
import pytest

from tests.support.mounts import small_disk
from tests.support.rows import first_row
from tests.support.stored_tasks import COMPLETED, bus_notes, other_notes, write_store
from upbeat_server.engine.model import EPOCH_SHIFT
from upbeat_server.store import sqlite_backup
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.sqlite_backup import TargetExists, back_up
from upbeat_server.store.sqlite_check import Check
from upbeat_server.store.store import Adoption, NamespaceBatch, StoreInvalid, StoreUnavailable


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    await write_store(path)
    return path


async def adopted(path: Path, *namespaces: str) -> list[Adoption]:
    """What servers on the file would resume from."""
    store = SqliteStore(path)
    await store.open()
    try:
        return [await store.adopt(name) for name in namespaces]
    finally:
        await store.close()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith("x.db")}


async def test_a_backup_of_a_store_in_use_is_one_sound_file_and_holds_what_was_committed(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    epoch = (await store.adopt("default")).epoch
    last = epoch << EPOCH_SHIFT | 1
    target = path.with_name("backup.db")
    contents = await asyncio.to_thread(back_up, path, target)
    await store.commit([NamespaceBatch("default", epoch, 2_000, 5, [first_row(last)])])
    assert (contents.namespaces, contents.tasks, contents.finished, contents.notes) == (1, 4, 1, 11)
    assert contents.bytes == target.stat().st_size
    assert files(path.parent) == {"backup.db"}
    assert list(Check(target).violations()) == []
    await store.close()
    copy = SqliteStore(target)
    await copy.open()
    found = await copy.get("default", [COMPLETED, last])
    assert [task is not None for task in found] == [True, False]
    notes = [("colour", "sky", b"blue"), *bus_notes(), *other_notes()]
    assert sorted((await copy.adopt("default")).notes) == sorted(notes)
    await copy.close()


async def test_a_copy_hands_out_no_id_that_its_original_handed_out_since(path: Path) -> None:
    target = path.with_name("backup.db")
    back_up(path, target)
    lives = [await adopted(path, "default", "new") for _ in range(5)]
    original, created = lives[-1]
    restored, created_anew = await adopted(target, "default", "new")
    assert restored.epoch > original.epoch
    assert created_anew.epoch > created.epoch
    assert restored.revision > original.revision + 1_000_000
    assert created_anew.revision > 0
    assert restored.epoch << EPOCH_SHIFT < 1 << 62
    (again,) = await adopted(target, "default")
    assert again.epoch > restored.epoch


async def test_a_copy_says_so_until_its_first_commit(path: Path) -> None:
    target = path.with_name("backup.db")
    back_up(path, target)
    assert not (await adopted(path, "default"))[0].is_copy
    for _ in range(2):  # Killed before it committed anything.
        assert (await adopted(target, "default"))[0].is_copy
    store = SqliteStore(target)
    await store.open()
    adoption = await store.adopt("default")
    batch = NamespaceBatch("default", adoption.epoch, 2_000, adoption.revision + 1, [])
    await store.commit([batch])
    await store.close()
    assert not (await adopted(target, "default"))[0].is_copy
    second = path.with_name("second.db")
    back_up(target, second)
    assert (await adopted(second, "default"))[0].is_copy


def test_what_exists_is_replaced_only_when_that_is_said(path: Path) -> None:
    target = path.with_name("backup.db")
    target.write_text("precious")
    with pytest.raises(TargetExists, match="--force"):
        back_up(path, target)
    assert target.read_text() == "precious"
    assert back_up(path, target, replaces=True).tasks == 4
    assert list(Check(target).violations()) == []
    assert files(path.parent) == {"backup.db"}


def test_what_came_to_the_target_meanwhile_is_not_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = path.with_name("backup.db")
    copy = sqlite_backup._copy

    def slow_copy(reader: apsw.Connection, draft: Path) -> None:
        copy(reader, draft)
        target.write_text("precious")

    monkeypatch.setattr(sqlite_backup, "_copy", slow_copy)
    with pytest.raises(TargetExists):
        back_up(path, target)
    assert target.read_text() == "precious"
    assert files(path.parent) == {"backup.db"}


@pytest.mark.parametrize("name", ["x.db", "x.db-wal", "x.db-shm", "x.db.lock", "link.db", "hard.db"])
def test_the_store_is_never_its_own_backup(path: Path, name: str) -> None:
    path.with_name("link.db").symlink_to(path)
    path.with_name("hard.db").hardlink_to(path)
    before = path.read_bytes()
    with pytest.raises(StoreInvalid, match="is the store itself"):
        back_up(path, path.with_name(name), replaces=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_a_log_that_would_be_taken_for_that_of_the_backup_is_refused(path: Path, ending: str) -> None:
    path.with_name(f"backup.db{ending}").write_text("")
    with pytest.raises(StoreInvalid, match="in use, or was left by a kill"):
        back_up(path, path.with_name("backup.db"), replaces=True)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("none.db", "backup.db", "there is no store"),
        ("x.db", "nowhere/backup.db", "nowhere does not exist"),
        ("x.db", ".", "is a directory"),
    ],
)
def test_what_cannot_be_is_told(path: Path, source: str, target: str, words: str) -> None:
    with pytest.raises(StoreInvalid, match=words):
        back_up(path.with_name(source), path.parent / target)
    assert files(path.parent) == set()


def test_a_full_disk_is_told_and_nothing_is_left(path: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k") as folder:
        with pytest.raises(StoreUnavailable, match="no space"):
            back_up(path, folder / "backup.db")
        assert os.listdir(folder) == []  # noqa: PTH208 - hidden files, too


def test_a_damaged_store_makes_no_backup(path: Path) -> None:
    connection = apsw.Connection(str(path))
    root = connection.execute("select rootpage from sqlite_schema where name = 'task_type'").get
    size = int(connection.pragma("page_size"))
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size + 3)
        file.write(b"\0\0")
    with pytest.raises(StoreInvalid, match="is not whole"):
        back_up(path, path.with_name("backup.db"))
    assert files(path.parent) == set()
