"""Many items through one pipeline: fed as it takes them, read as they leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.support.fake_server import Conversation, FakeServer, Refusal, fake_server
from upbeat import BudgetExceeded, Client, Skill, StepFailed, codec
from upbeat.collaboration.items import AHEAD_MAX
from upbeat.v1 import collaboration_service_pb2 as wire
from upbeat.v1 import task_pb2, task_service_pb2

Response = task_service_pb2.StreamTasksResponse
FETCH = Skill("fetch", str, str)
COUNT = Skill("count", str, int)


class PipelineServer:
    """An open pipeline `t1`, as a server shows it: what was appended, and what the test lets leave."""

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        self.items: list[Any] = []
        self.is_closed = asyncio.Event()
        self.takes = AHEAD_MAX  # Appends of more items are refused.
        self.refused = asyncio.Event()
        self.error = ""
        self.result = task_pb2.CollaborationResult(mode="pipeline")
        self.cancelled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        fake.answers["AppendItems"] = self._append
        fake.answers["CloseItems"] = self._close
        fake.answers["GetTask"] = self._get
        fake.answers["CancelTask"] = self._cancel

    async def begin(self) -> None:
        """Accept the pipeline."""
        self.stream = await self.fake.conversation("StreamTasks")
        await self.stream.say(Response(window=10))
        (self.request,) = (await self.stream.hear_until(lambda frame: frame.requests)).requests
        accepted = task_service_pb2.TaskAccepted(request_id=self.request.request_id, task_id="t1")
        await self.stream.say(Response(accepted=[accepted]))
        self.watch = await self.fake.conversation("WatchTasks")

    async def leave(
        self, index: int, output: Any, *, stage: int = 1, watch: Conversation | None = None
    ) -> None:
        """An item leaves a stage."""
        child = task_pb2.Task(
            task_id=f"c{index}", state=task_pb2.Task.STATE_COMPLETED, member=f"item/{index}/stage/{stage}"
        )
        child.revision = 10 + index
        child.output.CopyFrom(codec.encode(output))
        frame = task_service_pb2.WatchTasksResponse(revision=child.revision)
        frame.events.add().task.CopyFrom(child)
        await (watch or self.watch).say(frame)

    async def end(self, error: str = "") -> None:
        """The pipeline ends."""
        end = task_service_pb2.TaskFinished(request_id=self.request.request_id, task_id="t1")
        end.state = task_pb2.Task.STATE_FAILED if error else task_pb2.Task.STATE_COMPLETED
        end.error.reason = error
        self.error = error
        await self.stream.say(Response(finished=[end]))

    def _append(self, request: Any) -> Any:
        if len(request.items) > self.takes:
            self._loop.call_soon_threadsafe(self.refused.set)
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "ITEMS_FULL", retry_s=0.001)
        assert request.first_index == len(self.items)
        self.items += [item.data.decode() for item in request.items]
        return wire.AppendItemsResponse(item_count=len(self.items))

    def _close(self, request: Any) -> Any:
        self._loop.call_soon_threadsafe(self.is_closed.set)
        return wire.CloseItemsResponse(item_count=len(self.items))

    def _get(self, request: Any) -> Any:
        task = task_pb2.Task(task_id="t1", collaboration_result=self.result)
        task.state = task_pb2.Task.STATE_FAILED if self.error else task_pb2.Task.STATE_COMPLETED
        task.error.reason = self.error
        return task_service_pb2.GetTaskResponse(task=task)

    def _cancel(self, request: Any) -> Any:
        self._loop.call_soon_threadsafe(self.cancelled.set)
        return task_service_pb2.CancelTaskResponse()


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
async def line(server: FakeServer) -> PipelineServer:
    return PipelineServer(server)


@pytest.fixture
async def up(server: FakeServer) -> AsyncIterator[Client]:
    async with Client(server.address, namespace="n1", patience=20) as client:
        yield client


async def test_items_are_appended_closed_and_read_as_they_leave(line: PipelineServer, up: Client) -> None:
    leaving = up.pipeline(FETCH, COUNT, buffer=2).map(["a", "b", "c"], timeout=9)
    first = asyncio.create_task(anext(leaving))
    await line.begin()
    pipeline = line.request.spec.collaboration.pipeline
    assert (pipeline.open, pipeline.buffer, len(pipeline.items)) == (True, 2, 0)
    assert line.request.spec.total_timeout.ToSeconds() == 9
    assert line.watch.request.filter == 'parent = "t1" AND state = COMPLETED AND type = "count"'
    assert line.watch.request.view == task_pb2.TASK_VIEW_FULL
    await line.is_closed.wait()
    assert line.items == ["a", "b", "c"]
    await line.leave(1, 11)
    item = await first
    assert (item.index, item.task_id, item.output) == (1, "c1", 11)
    await line.leave(0, "not of this stage", stage=0)
    await line.leave(1, 11)  # Told twice, as after a new snapshot.
    await line.leave(2, 12)
    line.result.completed_items = 3
    await line.end()
    assert (await anext(leaving)).output == 12
    await line.leave(0, 10)
    assert [each.index async for each in leaving] == [0]


async def test_no_items_end_a_pipeline_at_once(line: PipelineServer, up: Client) -> None:
    running = asyncio.create_task(anext(up.pipeline(FETCH, COUNT).map([]), None))
    await line.begin()
    await line.is_closed.wait()
    await line.end()
    assert await running is None
    assert line.items == []


async def test_items_of_a_generator_are_sent_as_they_come(line: PipelineServer, up: Client) -> None:
    more = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "a"
        await more.wait()
        yield "b"

    leaving = up.pipeline(FETCH, COUNT).map(source())
    first = asyncio.create_task(anext(leaving))
    await line.begin()
    await line.leave(0, 1)
    assert (await first).output == 1
    assert line.items == ["a"]
    more.set()
    await line.is_closed.wait()
    assert line.items == ["a", "b"]
    await leaving.aclose()
    await line.cancelled.wait()


async def test_no_more_is_drawn_than_the_pipeline_takes(line: PipelineServer, up: Client) -> None:
    drawn: list[str] = []
    line.takes = 0

    def source() -> Any:
        for number in range(4 * AHEAD_MAX):
            drawn.append(str(number))
            yield drawn[-1]

    leaving = up.pipeline(FETCH, COUNT).map(source())
    first = asyncio.create_task(anext(leaving))
    await line.begin()
    await line.refused.wait()
    assert len(drawn) <= 2 * AHEAD_MAX + 1  # What waits, what is offered, and one on its way.
    line.takes = AHEAD_MAX // 8
    await line.is_closed.wait()
    assert line.items == drawn
    sizes = [len(request.items) for request in line.fake.requests["AppendItems"]]
    assert max(sizes) <= AHEAD_MAX
    assert sizes[1] == sizes[0] // 2
    await line.leave(0, 1)
    assert (await first).output == 1
    await leaving.aclose()


async def test_what_the_source_raises_is_raised_and_cancels_the_pipeline(
    line: PipelineServer, up: Client
) -> None:
    def source() -> Any:
        yield "a"
        raise LookupError("no more such")

    running = asyncio.create_task(anext(up.pipeline(FETCH, COUNT).map(source())))
    await line.begin()
    with pytest.raises(LookupError, match="no more such"):
        await running
    await line.cancelled.wait()
    assert not line.is_closed.is_set()


async def test_a_pipeline_that_fails_raises_why(line: PipelineServer, up: Client) -> None:
    running = asyncio.create_task(anext(up.pipeline(FETCH, COUNT).map(["a"])))
    await line.begin()
    await line.is_closed.wait()
    await line.end("STEP_FAILED")
    with pytest.raises(StepFailed):
        await running
    assert not line.cancelled.is_set()


async def test_a_pipeline_that_ended_before_its_items_did_tells_how(line: PipelineServer, up: Client) -> None:
    def closed(_: Any) -> Any:
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "TASK_FINISHED")

    line.fake.answers["AppendItems"] = closed
    running = asyncio.create_task(anext(up.pipeline(FETCH, COUNT).map(["a"])))
    await line.begin()
    await line.end("BUDGET_EXCEEDED")
    with pytest.raises(BudgetExceeded):
        await running


async def test_items_that_were_given_up_come_last_and_raise(line: PipelineServer, up: Client) -> None:
    leaving = up.pipeline(FETCH, COUNT, on_item_failure="dead_letter").map(["a", "b"])
    first = asyncio.create_task(anext(leaving))
    await line.begin()
    await line.is_closed.wait()
    await line.leave(1, 5)
    assert (await first).output == 5
    error = line.result.item_errors.add(index=0, stage=1, task_id="c0")
    error.error.reason, error.error.message = "NOPE", "because"
    line.result.completed_items, line.result.failed_items = 1, 1
    await line.end()
    item = await anext(leaving)
    with pytest.raises(StepFailed, match="item 0 was given up in stage 1: NOPE: because") as caught:
        _ = item.output
    assert (caught.value.step, caught.value.step_reason) == ("item/0/stage/1", "NOPE")
    assert [each async for each in leaving] == []


async def test_a_watch_that_fell_behind_begins_anew_without_repeats(line: PipelineServer, up: Client) -> None:
    leaving = up.pipeline(FETCH, COUNT).map(["a", "b"])
    first = asyncio.create_task(anext(leaving))
    await line.begin()
    await line.leave(0, 1)
    await first
    second = asyncio.create_task(anext(leaving))
    await line.watch.end(Refusal(grpc.StatusCode.OUT_OF_RANGE, "REVISION_OUT_OF_RANGE"))
    again = await line.fake.conversation("WatchTasks")
    assert again.request.revision == 0
    await line.leave(0, 1, watch=again)
    await line.leave(1, 2, watch=again)
    assert (await second).index == 1
    await leaving.aclose()


async def test_a_last_stage_that_is_a_collaboration_is_watched_by_its_place(
    line: PipelineServer, up: Client
) -> None:
    leaving = up.pipeline(FETCH, up.parallel(COUNT, COUNT)).map(["a"])
    first = asyncio.create_task(anext(leaving))
    await line.begin()
    assert line.watch.request.filter == 'parent = "t1" AND state = COMPLETED'
    await line.leave(0, [1, 2])
    assert (await first).output == [1, 2]
    await leaving.aclose()
