"""No room, or no right, to write: refused clearly, read all the same, and well again without a restart."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from tests.support.disk_load import DiskLoad
from tests.support.ext4_disk import ext4_disk
from tests.support.gated_fleet import GatedFleet
from tests.support.mounts import remount_read_only, small_disk
from tests.support.rows import COMPLETED, batch, first_row
from tests.support.store_server import StoreServer
from tests.support.told import No, Told, missing_from_file, missing_from_server, not_completed
from upbeat.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from upbeat_server.store import sqlite_writer
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.store import StoreUnavailable, TaskQuery

GATED = 5
UNREADY = (503, {"ready": False, "reasons": ["store unavailable"]})
READY = (200, {"ready": True, "reasons": []})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "16m") as place:
        yield place


def fill(place: Path, leave: int = 0) -> Path:
    """Put a file there that takes all the room but ``leave`` bytes."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(64 << 10)):
                pass
        except OSError:
            pass
        if leave:
            file.truncate(max(0, file.tell() - leave))
    return ballast


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that only asking tells."""
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        threading.Event().wait(0.02)


def assert_clear(no: No) -> None:
    """A refusal that says what to do."""
    assert no.code == grpc.StatusCode.UNAVAILABLE
    assert no.retry_ms > 0
    assert "the store cannot commit at the moment: repeat the call" in no.message


def submit_gated(address: str) -> list[str]:
    """Work that agents hold until they are told to go on."""
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        request = task_service_pb2.SubmitTaskRequest()
        request.spec.type = "gated"
        return [stub.SubmitTask(request, timeout=30).task.task_id for _ in range(GATED)]


def gated_tasks(address: str, task_ids: list[str], wait_s: int = 60) -> list[task_pb2.Task]:
    """The tasks when they have ended, or after so long."""
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        requests = [task_service_pb2.GetTaskRequest(task_id=task_id) for task_id in task_ids]
        for request in requests:
            request.wait.FromSeconds(wait_s)
        return [stub.GetTask(request, timeout=90).task for request in requests]


def completed(address: str) -> int:
    """How many completed tasks the server still knows, up to 1,000."""
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        request = task_service_pb2.ListTasksRequest(filter="state = COMPLETED", page_size=1_000)
        return len(stub.ListTasks(request, timeout=30).tasks)


@pytest.mark.parametrize("by", ["ballast", "itself"])
def test_a_full_disk_refuses_work_serves_reads_keeps_results_and_heals(disk: Path, by: str) -> None:
    told, path = Told(), disk / "upbeat.db"
    with StoreServer(path).stopped_at_the_end() as server:
        server.start()
        fleet = GatedFleet(server.address, "gated", agents=1, slots=GATED)
        try:
            gated = submit_gated(server.address)
            fleet.wait_for_starts(GATED)
            with DiskLoad(server.address, told, "load", padding=20_000 if by == "itself" else 500):
                told.wait_for_more(100, 100)
                if by == "ballast":
                    fill(disk)
                assert_clear(told.wait_for_refusal("STORE_UNAVAILABLE"))
                server.wait_for_health(serving=False)
                assert server.readiness() == UNREADY
                fleet.go()  # These agents are done while nothing can be kept.
                for _ in range(3):
                    assert_clear(told.wait_for_refusal("STORE_UNAVAILABLE"))
                assert missing_from_server(told, server.address) == []  # Reads are served.
                if by == "ballast":
                    (disk / "ballast").unlink()
                else:
                    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
                server.wait_for_health(serving=True)
                told.wait_for_more(100, 100)
            tasks = gated_tasks(server.address, gated)
        finally:
            fleet.close()
        assert [task.state for task in tasks] == [task_pb2.Task.STATE_COMPLETED] * GATED
        assert [task.attempt_count for task in tasks] == [1] * GATED
        assert sorted(start.task_id for start in fleet.starts) == sorted(gated)
        assert missing_from_server(told, server.address) == []
        assert server.stop() == 0
        assert "exception" not in server.text()
    assert missing_from_file(told, path) == []


def test_a_server_that_purges_all_the_time_purges_on_after_a_full_disk(disk: Path) -> None:
    told, path, keep = Told(), disk / "upbeat.db", 20
    with StoreServer(
        path, engine__retention__finished_tasks_max=keep, engine__retention__purge_interval_ms=20
    ).stopped_at_the_end() as server:
        server.start()
        waiting = submit_gated(server.address)  # For agents that never come.
        with DiskLoad(server.address, told, "load", padding=500) as load:
            told.wait_for_more(100, 100)
            fill(disk)
            server.wait_for_health(serving=False)
            assert_clear(told.wait_for_refusal("STORE_UNAVAILABLE"))
            (disk / "ballast").unlink()
            server.wait_for_health(serving=True)
            told.wait_for_more(100, 100)
            load.stop_submitting()
            told.wait_until(lambda: told.accepted.keys() >= set(told.acknowledged.values()), "all results")
        assert missing_from_server(told, server.address, is_purged=True) == []
        until(lambda: completed(server.address) <= keep)
        tasks = gated_tasks(server.address, waiting, wait_s=0)
        assert [task.state for task in tasks] == [task_pb2.Task.STATE_QUEUED] * GATED
        assert server.stop() == 0


async def test_a_purge_without_room_removes_nothing(disk: Path) -> None:
    store = SqliteStore(disk / "upbeat.db")
    await store.open()
    await store.adopt("default")
    ended = [first_row(task_id, COMPLETED, record=os.urandom(5_000)) for task_id in range(1, 101)]
    await store.commit([batch(*ended)])
    ballast = fill(disk)
    with suppress(StoreUnavailable):
        for task_id in range(101, 10_000):
            await store.commit([batch(first_row(task_id))])
    with pytest.raises(StoreUnavailable, match="cannot be written now"):
        await store.purge("default", 1_000, 0, 1_000)
    assert None not in await store.get("default", list(range(1, 101)))
    ballast.unlink()
    assert (await store.purge("default", 1_000, 0, 1_000)).task_ids == list(range(1, 101))
    assert await store.get("default", list(range(1, 101))) == [None] * 100
    await store.close()


async def test_a_checkpoint_without_room_loses_nothing(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 50)
    store = SqliteStore(disk / "upbeat.db")
    await store.open()
    await store.adopt("default")
    task_id = 0

    async def commit() -> None:
        nonlocal task_id
        await store.commit([batch(first_row(task_id + 1, record=os.urandom(10_000)))])
        task_id += 1

    while task_id < 50:
        await commit()
    ballast, before = fill(disk), task_id
    with suppress(StoreUnavailable):
        while task_id < 1_000:
            await commit()
    assert task_id < 1_000
    # The log has room of its own that is written over, the file has none: a checkpoint failed.
    assert task_id > before
    log, kept = disk / "upbeat.db-wal", task_id
    assert log.stat().st_size > 0
    assert len(await store.query("default", TaskQuery(), 1_000, 64 << 20)) == kept
    ballast.unlink()
    while task_id < kept + 50:
        await commit()
    await store.close()
    await store.open()
    rows = await store.query("default", TaskQuery(), 1_000, 64 << 20)
    assert [row.task_id for row in rows] == list(range(1, task_id + 1))
    await store.close()


def test_a_start_on_a_full_disk_says_so_and_the_next_finds_everything(disk: Path) -> None:
    told, path = Told(), disk / "upbeat.db"
    with StoreServer(path).stopped_at_the_end() as server:
        server.start()
        with DiskLoad(server.address, told, "load", padding=3_000):
            told.wait_for_more(100, 100)
            server.kill()
        fill(disk)
        failed = server.start_in_vain()
        assert failed.code == 5, failed
        assert "check space and permissions" in failed.output
        assert "Traceback" not in failed.output
        (disk / "ballast").unlink()
        server.start()
        assert missing_from_server(told, server.address) == []


def test_a_start_on_a_read_only_disk_says_so(disk: Path) -> None:
    with StoreServer(disk / "upbeat.db").stopped_at_the_end() as server:
        server.start()
        assert server.stop() == 0
        remount_read_only(disk)
        failed = server.start_in_vain()
        assert failed.code == 5, failed
        assert "make it" in failed.output
        assert "writable" in failed.output
        assert "Traceback" not in failed.output


def test_files_that_become_unwritable_are_reopened_when_they_can_be_written_again(tmp_path: Path) -> None:
    told = Told()
    with ext4_disk(tmp_path) as disk:
        path = disk.place / "upbeat.db"
        files = [str(path), f"{path}-wal"]
        with StoreServer(path).stopped_at_the_end() as server:
            server.start()
            with DiskLoad(server.address, told, "load"):
                told.wait_for_more(60, 60)
                # What an administrator or a broken disk does: not even open descriptors may write.
                subprocess.run(["chattr", "+i", *files], check=True)
                try:
                    told.wait_for_refusal("STORE_UNAVAILABLE")
                    server.wait_for_health(serving=False)
                    assert server.readiness() == UNREADY
                    server.wait_for_log("store_not_read_again")
                finally:
                    subprocess.run(["chattr", "-i", *files], check=True)
                server.wait_for_health(serving=True)
                told.wait_for_more(60, 60)
                assert server.readiness() == READY
                assert not_completed(told, server.address) == []
            assert missing_from_server(told, server.address) == []
            server.kill()
        assert missing_from_file(told, path) == []
