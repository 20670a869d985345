"""Following tasks over one WatchTasks, against a server that says what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.support.fake_server import Conversation, FakeServer, Refusal, fake_server
from upbeat import Client, Left, Progress, Task, TaskNotFound, TaskState, Unauthenticated
from upbeat.errors import RevisionOutOfRange
from upbeat.v1 import task_pb2, task_service_pb2
from upbeat.watch import cover_of

State = task_pb2.Task.State
Frame = task_service_pb2.WatchTasksResponse


def task(task_id: str, revision: int, state: str = "RUNNING", *, second: int = 1, type: str = "echo") -> Any:  # noqa: A002
    message = task_pb2.Task(task_id=task_id, revision=revision, state=State.Value(f"STATE_{state}"))
    message.spec.type = type
    message.create_time.FromSeconds(second)
    return message


def frame(*tasks: Any, revision: int = 0, progress: str = "") -> Frame:
    events = [task_service_pb2.TaskEvent(task=each) for each in tasks]
    if progress:
        events.append(
            task_service_pb2.TaskEvent(progress=task_service_pb2.TaskProgress(task_id=progress, fraction=0.5))
        )
    return Frame(events=events, revision=revision)


class Tasks(dict[str, Any]):
    """What GetTask answers."""

    def get_task(self, request: Any) -> Any:
        if request.task_id not in self:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
        return task_service_pb2.GetTaskResponse(task=self[request.task_id])


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
def tasks(server: FakeServer) -> Tasks:
    known = Tasks()
    server.answers["GetTask"] = known.get_task
    return known


@pytest.fixture
async def up(server: FakeServer) -> AsyncIterator[Client]:
    async with Client(server.address, namespace="n1") as client:
        yield client


def follow(up: Client, task_id: str) -> tuple[list[Any], asyncio.Task[None], asyncio.Event]:
    """A reader of one task's updates: what it read, its end, and a signal for each."""
    read: list[Any] = []
    news = asyncio.Event()

    async def reader() -> None:
        async for update in up.task(task_id).updates():
            read.append(update if isinstance(update, Progress) else (update.state.value, update.revision))
            news.set()

    return read, asyncio.create_task(reader()), news


async def test_updates_begin_with_the_task_and_end_with_its_last_change(
    server: FakeServer, up: Client, tasks: Tasks
) -> None:
    tasks["t1"] = task("t1", 3, "QUEUED")
    read, reader, _ = follow(up, "t1")
    watch = await server.conversation("WatchTasks")
    assert (watch.request.task_id, watch.request.progress, watch.request.namespace) == ("t1", True, "n1")
    await watch.say(frame(task("t1", 3, "QUEUED")))
    await watch.say(frame(task("t1", 5), revision=5))
    await watch.say(frame(progress="t1"))
    await watch.say(frame(task("t1", 6, "COMPLETED"), revision=6))
    await reader
    assert [each if isinstance(each, tuple) else each.fraction for each in read] == [
        ("QUEUED", 3),
        ("RUNNING", 5),
        0.5,
        ("COMPLETED", 6),
    ]


async def test_a_finished_task_needs_no_watch(server: FakeServer, up: Client, tasks: Tasks) -> None:
    tasks["t1"] = task("t1", 9, "FAILED")
    read, reader, _ = follow(up, "t1")
    await reader
    assert read == [("FAILED", 9)]
    assert not server.has_conversation("WatchTasks")


async def test_a_task_that_is_not_there_is_told(up: Client, tasks: Tasks) -> None:
    with pytest.raises(TaskNotFound):
        await anext(up.task("t9").updates())


async def test_one_watch_serves_all_and_nobody_misses_or_repeats_a_change(
    server: FakeServer, up: Client, tasks: Tasks
) -> None:
    tasks["t1"] = task("t1", 3, second=5)
    first, first_reader, news = follow(up, "t1")
    watch = await server.conversation("WatchTasks")
    await watch.say(frame(task("t1", 7, second=5), revision=7))
    while ("RUNNING", 7) not in first:
        news.clear()
        await news.wait()

    tasks["t2"] = task("t2", 6, second=2)
    second, second_reader, _ = follow(up, "t2")
    watch = await server.conversation("WatchTasks")
    assert watch.request.filter == 'create_time >= "1970-01-01T00:00:02Z" AND type = "echo"'
    assert watch.request.revision == 7
    await watch.say(frame(task("t2", 8, second=2), task("t9", 8), task("t1", 9, second=5), revision=9))

    tasks["t3"] = task("t3", 9, second=6)
    third, third_reader, news = follow(up, "t3")
    await news.wait()
    ends = [task(name, 11 + n, "COMPLETED") for n, name in enumerate(["t1", "t2"])]
    await watch.say(frame(*ends, revision=12))
    await asyncio.gather(first_reader, second_reader)
    assert first == [("RUNNING", 3), ("RUNNING", 7), ("RUNNING", 9), ("COMPLETED", 11)]
    assert second == [("RUNNING", 6), ("RUNNING", 8), ("COMPLETED", 12)]
    assert not server.has_conversation("WatchTasks"), "t3 was covered by what was watched already"
    await watch.say(frame(task("t3", 13, "CANCELLED"), revision=13))
    await third_reader
    assert third == [("RUNNING", 9), ("CANCELLED", 13)]


async def test_a_broken_watch_goes_on_where_it_was(server: FakeServer, up: Client, tasks: Tasks) -> None:
    tasks["t1"] = task("t1", 3)
    read, reader, _ = follow(up, "t1")
    watch = await server.conversation("WatchTasks")
    await watch.say(frame(task("t1", 4), revision=4))
    await watch.end(Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING"))
    watch = await server.conversation("WatchTasks")
    assert watch.request.revision == 4
    await watch.end(Refusal(grpc.StatusCode.OUT_OF_RANGE, "REVISION_OUT_OF_RANGE"))
    watch = await server.conversation("WatchTasks")
    assert watch.request.revision == 0
    await watch.say(frame(task("t1", 4)))
    await watch.say(frame(task("t1", 9, "COMPLETED"), revision=9))
    await reader
    assert read == [("RUNNING", 3), ("RUNNING", 4), ("COMPLETED", 9)]


async def test_a_watch_that_is_refused_fails_its_readers(
    server: FakeServer, up: Client, tasks: Tasks
) -> None:
    tasks["t1"] = task("t1", 3)
    _, reader, _ = follow(up, "t1")
    watch = await server.conversation("WatchTasks")
    await watch.end(Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"))
    with pytest.raises(Unauthenticated):
        await reader


def test_a_watch_asks_for_as_little_as_covers_all() -> None:
    one, other = task("t1", 1, second=5), task("t2", 2, second=4)
    assert cover_of([one]).task_id == "t1"
    assert cover_of([one]).has(one)
    assert not cover_of([one]).has(other)
    both = cover_of([one, other])
    assert both.filter == 'create_time >= "1970-01-01T00:00:04Z" AND type = "echo"'
    assert both.has(task("t3", 3, second=4))
    assert not both.has(task("t3", 3, second=3))
    assert not both.has(task("t3", 3, second=4, type="other"))
    assert (
        cover_of([one, task("t3", 3, second=9, type="other")]).filter
        == 'create_time >= "1970-01-01T00:00:05Z"'
    )
    for child in (one, other):
        child.parent_task_id = "p1"
    assert cover_of([one, other]).parent_task_id == "p1"


# Client.watch


async def read(watch: Any, count: int) -> list[Any]:
    return [await anext(watch) for _ in range(count)]


async def said(server: FakeServer, *frames: Frame | bytes) -> Conversation:
    stream = await server.conversation("WatchTasks")
    for each in frames:
        await stream.say(each)
    return stream


async def test_a_watch_is_a_snapshot_and_then_every_change(server: FakeServer, up: Client) -> None:
    snapshot = frame(task("t1", 1), task("t2", 2, "QUEUED"), revision=2)
    snapshot.snapshot_done = True
    change = frame(task("t2", 3), revision=3, progress="t2")
    change.events.append(task_service_pb2.TaskEvent(left="t1"))
    async with up.watch('type = "echo"', progress=True) as watch:
        saying = asyncio.create_task(said(server, snapshot, change))
        found = await read(watch, 5)
        stream = await saying
        assert stream.request.filter == 'type = "echo"'
        assert [type(each) for each in found] == [Task, Task, Task, Progress, Left]
        assert found[1].state is TaskState.QUEUED
        assert found[4] == Left("t1")
        assert watch.is_snapshot_done
        assert watch.revision == 3

        await stream.end(Refusal(grpc.StatusCode.ABORTED, "SLOW_READER"))
        saying = asyncio.create_task(said(server, frame(task("t2", 4), revision=4)))
        assert [each.revision for each in await read(watch, 1)] == [4]
        assert (await saying).request.revision == 3


async def test_a_reader_who_leaves_within_a_frame_can_resume_where_it_was(
    server: FakeServer, up: Client
) -> None:
    snapshot = frame(task("t1", 1), task("t2", 2), revision=2)
    snapshot.snapshot_done = True
    changes = frame(task("t1", 3), task("t2", 4), task("t3", 5), revision=6)
    async with up.watch() as watch:
        saying = asyncio.create_task(said(server, snapshot, changes))
        revisions = [(await read(watch, 1) and watch.revision) for _ in range(5)]
        await saying
    # Within the snapshot there is nothing to resume from but another one.
    assert revisions == [0, 2, 3, 4, 6]


async def test_a_frame_that_cannot_be_read_breaks_the_stream_and_not_the_watch(
    server: FakeServer, up: Client, tasks: Tasks
) -> None:
    async with up.watch(revision=5) as watch:
        saying = asyncio.create_task(said(server, frame(task("t1", 6), revision=6), b"\xff garbage"))
        assert [each.revision for each in await read(watch, 1)] == [6]
        reading = asyncio.create_task(read(watch, 1))
        await saying
        stream = await said(server, frame(task("t1", 7), revision=7))
        assert stream.request.revision == 6
        assert [each.revision for each in await reading] == [7]

    tasks["t2"] = task("t2", 3)
    updates, reader, _ = follow(up, "t2")
    await said(server, b"\xff garbage")
    await said(server, frame(task("t2", 4, "COMPLETED"), revision=4))
    await reader
    assert updates == [("RUNNING", 3), ("COMPLETED", 4)]


async def test_a_gap_in_a_watch_is_told(server: FakeServer, up: Client) -> None:
    watch = up.watch(revision=5)
    assert watch.is_snapshot_done
    reading = asyncio.create_task(anext(watch))
    stream = await server.conversation("WatchTasks")
    assert stream.request.revision == 5
    await stream.end(Refusal(grpc.StatusCode.OUT_OF_RANGE, "REVISION_OUT_OF_RANGE"))
    with pytest.raises(RevisionOutOfRange):
        await reading


async def test_a_watch_is_of_a_filter_or_of_children(server: FakeServer, up: Client) -> None:
    with pytest.raises(ValueError, match="either"):
        up.watch("state = QUEUED", parent_task_id="p1")
    reading = asyncio.create_task(anext(up.watch(parent_task_id="p1", full=True)))
    stream = await server.conversation("WatchTasks")
    assert stream.request.parent_task_id == "p1"
    assert stream.request.view == task_pb2.TASK_VIEW_FULL
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await stream.hear() is None
