"""CollaborationService over a real port. Items go to a fake here: pipelines have tests of their own."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.support.runtime import PATIENCE_S
from tests.support.served import Served, WireAgent, served, told_by
from upbeat.v1 import collaboration_service_pb2, task_service_pb2
from upbeat_server.engine import reasons
from upbeat_server.engine.collaboration import items
from upbeat_server.engine.commands import ItemsAnswered
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.events import ItemsAppended, ItemsClosed
from upbeat_server.engine.model import Payload, Refusal

# Messages take dicts for messages, which their stubs do not know.
pb: Any = collaboration_service_pb2
tasks_pb: Any = task_service_pb2
ITEM = {"data": b"x"}


class OpenPipeline:
    """Takes items in the place of the engine, and notes what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refusal: Refusal | None = None) -> None:
        self.told: list[ItemsAppended | ItemsClosed] = []
        self._refusal = refusal
        for name in ("append_items", "close_items"):
            monkeypatch.setattr(items, name, self._take)

    def _take(self, engine: Engine, event: ItemsAppended | ItemsClosed, _now_ms: int) -> None:
        self.told.append(event)
        engine.commands.append(ItemsAnswered(event.origin, 7, self._refusal))


async def finished(server: Served, error: Any = None, **spec: Any) -> str:
    """The id of a task that has ended with an output, or this error."""
    agent = await WireAgent(server).connect()
    task = (await server.submit(spec.pop("type", "echo"), **spec)).task
    lease_id = (await agent.hear()).assignments[0].lease_id
    await agent.say(
        attempt_acks=[{"lease_id": lease_id, "accepted": True}],
        results=[{"lease_id": lease_id, **({"error": error} if error else {"output": {"data": b"done"}})}],
    )
    await server.get(task.task_id, wait_s=int(PATIENCE_S))
    task_id: str = task.task_id
    return task_id


async def test_items_arrive_as_bytes_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = OpenPipeline(monkeypatch)
    async with served() as server:
        task_id = (await server.submit()).task.task_id
        unplaced = pb.AppendItemsRequest(task_id=task_id, items=[ITEM, {"json": {"bool_value": True}}])
        placed = pb.AppendItemsRequest(task_id=task_id, items=[ITEM], first_index=0)
        for request in (unplaced, placed):
            answer = await server.collaborations.AppendItems(request, timeout=PATIENCE_S)
            assert answer.item_count == 7
        closing = pb.CloseItemsRequest(task_id=task_id)
        assert (await server.collaborations.CloseItems(closing, timeout=PATIENCE_S)).item_count == 7
    first, second, closed = pipeline.told
    assert isinstance(first, ItemsAppended)
    assert first.items == [Payload("", b"x"), Payload("application/json", b"true")]
    assert first.first_index == -1
    assert isinstance(second, ItemsAppended)
    assert second.first_index == 0
    assert isinstance(closed, ItemsClosed)
    assert {f"{event.task_id:016x}" for event in pipeline.told} == {task_id}


async def test_a_refusal_of_the_engine_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    OpenPipeline(monkeypatch, Refusal(reasons.ITEMS_FULL, "10,000 items wait", retry_ms=1_000))
    async with served() as server:
        task_id = (await server.submit()).task.task_id
        request = pb.AppendItemsRequest(task_id=task_id, items=[ITEM])
        told = await told_by(server.collaborations.AppendItems(request, timeout=PATIENCE_S))
        assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ITEMS_FULL")


async def test_work_takes_no_items() -> None:
    async with served() as server:
        task_id = (await server.submit()).task.task_id
        for call in (
            server.collaborations.AppendItems(pb.AppendItemsRequest(task_id=task_id, items=[ITEM])),
            server.collaborations.CloseItems(pb.CloseItemsRequest(task_id=task_id)),
        ):
            told = await told_by(call)
            assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ITEMS_CLOSED")


async def test_what_has_ended_takes_no_items() -> None:
    async with served() as server:
        task_id = await finished(server)
        for call in (
            server.collaborations.AppendItems(pb.AppendItemsRequest(task_id=task_id, items=[ITEM])),
            server.collaborations.CloseItems(pb.CloseItemsRequest(task_id=task_id)),
        ):
            told = await told_by(call)
            assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_FINISHED")
            assert "takes no more items" in told.message


async def test_a_grade_is_of_the_agent_whose_output_it_was_and_the_last_one_counts() -> None:
    async with served() as server:
        task_id = await finished(server)
        for correct, right in ((True, 1), (True, 1), (False, 0)):
            request = pb.GradeTaskRequest(task_id=task_id, correct=correct)
            answer = await server.collaborations.GradeTask(request, timeout=PATIENCE_S)
            assert (answer.agent_id, answer.graded_count, answer.correct_count) == ("worker", 1, right)


async def test_only_what_somebody_completed_is_graded() -> None:
    async with served() as server:
        waiting = (await server.submit("nobody")).task.task_id
        failed = await finished(server, error={"reason": "BROKEN", "non_retryable": True})
        for task_id, state in ((waiting, "QUEUED"), (failed, "FAILED")):
            request = pb.GradeTaskRequest(task_id=task_id)
            told = await told_by(server.collaborations.GradeTask(request, timeout=PATIENCE_S))
            assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_GRADABLE")
            assert told.metadata["state"] == state


async def test_of_a_collaboration_its_children_are_graded() -> None:
    async with served() as server:
        spec = {"type": "", "collaboration": {"sequential": {"steps": [{"type": "echo"}]}}}
        task_id = await finished(server, **spec)
        told = await told_by(server.collaborations.GradeTask(pb.GradeTaskRequest(task_id=task_id)))
        assert told.reason == "NOT_GRADABLE"
        assert "grade its children" in told.message
        children = tasks_pb.ListTasksRequest(filter=f"parent = {task_id}")
        (child,) = (await server.tasks.ListTasks(children, timeout=PATIENCE_S)).tasks
        request = pb.GradeTaskRequest(task_id=child.task_id, correct=True)
        assert (await server.collaborations.GradeTask(request)).agent_id == "worker"
