"""What is found beside a store whose server did not close it: whole, torn, damaged or gone."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.support.rows import batch, first_row
from upbeat_server.store import sqlite_log, sqlite_writer
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.sqlite_backup import back_up
from upbeat_server.store.store import StoreInvalid, StoreUnavailable, TaskQuery

FRAME_BYTES = 24 + 4_096


def crash_image(path: Path, place: Path) -> Path:
    """What SIGKILL would leave now."""
    place.mkdir()
    for ending in ("", "-wal", ".lock"):
        shutil.copy(f"{path}{ending}", f"{place / path.name}{ending}")
    return place / path.name


async def crashed(folder: Path, tasks: int = 8) -> Path:
    """A store that was killed after some commits of one task each."""
    store = SqliteStore(folder / "x.db")
    await store.open()
    await store.adopt("default")
    for task_id in range(1, tasks + 1):
        await store.commit([batch(first_row(task_id, record=os.urandom(3_000)))])
    image = crash_image(folder / "x.db", folder / "crashed")
    await store.close()
    return image


async def tasks_of(path: Path) -> list[int]:
    """What a store serves."""
    store = SqliteStore(path)
    await store.open()
    try:
        return [task.task_id for task in await store.query("default", TaskQuery(), 1_000)]
    finally:
        await store.close()


def log_of(path: Path) -> Path:
    return path.with_name("x.db-wal")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


async def test_a_log_that_was_left_behind_is_read(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    assert await tasks_of(path) == list(range(1, 9))
    assert not log_of(path).exists()
    assert "serves" not in path.with_name("x.db.lock").read_text()


async def test_a_missing_log_is_told(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    kept = log_of(path).rename(tmp_path / "kept")
    for _ in range(2):  # Trying again does not make it good.
        with pytest.raises(StoreInvalid, match=r"x\.db-wal is missing.* put it back, or restore a backup"):
            await tasks_of(path)
    kept.rename(log_of(path))
    assert await tasks_of(path) == list(range(1, 9))


async def test_a_missing_log_can_be_done_without(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    log_of(path).unlink()
    path.with_name("x.db.lock").unlink()
    assert len(await tasks_of(path)) < 8


async def test_a_backup_in_the_place_of_a_crashed_store_needs_no_log(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    back_up(tmp_path / "x.db", tmp_path / "backup.db")
    log_of(path).unlink()
    shutil.copy(tmp_path / "backup.db", path)
    for _ in range(2):
        assert await tasks_of(path) == list(range(1, 9))


@pytest.mark.parametrize("content", [None, b""])
async def test_a_missing_file_beside_its_log_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = await crashed(tmp_path)
    log = log_of(path).read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreInvalid, match=r"x\.db is missing or empty, but its log .* put the file back"):
        await tasks_of(path)
    assert log_of(path).read_bytes() == log


async def test_a_file_that_was_emptied_is_told(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    path.write_bytes(b"")
    log_of(path).write_bytes(b"")
    with pytest.raises(StoreInvalid, match="is empty, and a server was using it"):
        await tasks_of(path)


async def test_a_file_that_was_cut_off_is_told(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "x.db")
    await store.open()
    await store.adopt("default")
    await store.commit([batch(*(first_row(task_id, record=os.urandom(3_000)) for task_id in range(1, 100)))])
    await store.close()
    await store.open()
    await store.commit([batch(first_row(100))])
    path = crash_image(tmp_path / "x.db", tmp_path / "crashed")
    await store.close()
    os.truncate(path, path.stat().st_size // 8192 * 4096)
    with pytest.raises(StoreInvalid, match=r"x\.db is damaged \(.*\): restore it from a backup"):
        await tasks_of(path)


async def filled(folder: Path) -> Path:
    """A store of some hundred pages that was closed."""
    store = SqliteStore(folder / "x.db")
    await store.open()
    await store.adopt("default")
    await store.commit([batch(*(first_row(task_id, record=os.urandom(900)) for task_id in range(1, 400)))])
    await store.close()
    return folder / "x.db"


async def test_pages_that_were_mixed_up_are_told(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    content = path.read_bytes()
    draw = random.Random(11)
    for _ in range(20):
        first, second = draw.sample(range(1, len(content) // 4_096), 2)
        mixed = bytearray(content)
        mixed[first * 4_096 : (first + 1) * 4_096] = content[second * 4_096 : (second + 1) * 4_096]
        path.write_bytes(mixed)
        with pytest.raises(StoreInvalid, match=r"x\.db is damaged \(.*\): restore it from a backup"):
            await tasks_of(path)


async def test_the_end_of_a_large_file_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_log, "CHECKED_BYTES_MAX", 0)
    await test_a_file_that_was_cut_off_is_told(tmp_path)


async def test_no_damage_to_a_file_is_a_defect(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    content = path.read_bytes()
    draw = random.Random(13)
    told = 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content) if draw.random() < 0.7 else 200)] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            await tasks_of(path)
        except (StoreInvalid, StoreUnavailable) as error:
            assert "\n" not in str(error)  # noqa: PT017 - what is raised depends on the place
            told += 1
    assert told > 10


@pytest.mark.parametrize("at", [*range(0, 32, 3), 31])
async def test_damage_to_the_head_of_the_log_is_told(tmp_path: Path, at: int) -> None:
    path = await crashed(tmp_path)
    flip(log_of(path), at)
    with pytest.raises(StoreInvalid, match=r"x\.db-wal is damaged behind its frame 0"):
        await tasks_of(path)


async def test_damage_to_a_commit_that_others_followed_is_told(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    size = log_of(path).stat().st_size
    draw = random.Random(7)
    frames = (size - 32) // FRAME_BYTES
    for number in range(40):
        copy = crash_image(path, tmp_path / f"copy{number}")
        at = draw.randrange(32, 32 + frames // 2 * FRAME_BYTES)
        flip(log_of(copy), at)
        damaged = log_of(copy).read_bytes()
        with pytest.raises(StoreInvalid, match="and what follows was acknowledged"):
            await tasks_of(copy)
        assert log_of(copy).read_bytes() == damaged


async def test_a_last_commit_that_is_torn_is_no_damage(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    size = log_of(path).stat().st_size
    for number, kept in enumerate(range(size - FRAME_BYTES, size, 600)):
        copy = crash_image(path, tmp_path / f"copy{number}")
        with log_of(copy).open("r+b") as log:  # As a power cut leaves it: with the size, not the bytes.
            log.seek(kept)
            log.write(b"\xaa" * (size - kept))
        assert await tasks_of(copy) == list(range(1, 8))


async def test_a_log_that_was_begun_anew_over_an_old_one_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 20)
    store = SqliteStore(tmp_path / "x.db")
    await store.open()
    await store.adopt("default")
    heads = set()
    for task_id in range(1, 60):
        await store.commit([batch(first_row(task_id, record=os.urandom(1_000)))])
        path = crash_image(tmp_path / "x.db", tmp_path / f"crashed{task_id}")
        heads.add(log_of(path).read_bytes()[:32])
        assert await tasks_of(path) == list(range(1, task_id + 1))
    assert len(heads) > 3
    await store.close()


async def test_a_start_that_fails_leaves_the_log_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await crashed(tmp_path)

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"cannot be used now \(.*Input/output error"):
            await tasks_of(path)
    monkeypatch.undo()
    assert await tasks_of(path) == list(range(1, 9))


@pytest.mark.parametrize("failing", ["Reader", "Writer"])
async def test_a_start_that_fails_half_way_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = await crashed(tmp_path)

    def fail(*_arguments: object) -> None:
        raise StoreUnavailable("no more files can be opened")

    monkeypatch.setattr(f"upbeat_server.store.sqlite.{failing}", fail)
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match="no more files"):
        await store.open()
    monkeypatch.undo()
    await store.open()
    assert len(await store.query("default", TaskQuery(), 1_000)) == 8
    await store.close()
