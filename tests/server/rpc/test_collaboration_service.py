"""CollaborationService over a real port. What the engine answers is given here: it has tests of its own."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.support.runtime import PATIENCE_S
from tests.support.served import Served, WireAgent, served, told_by
from upbeat.v1 import collaboration_service_pb2
from upbeat_server.engine import reasons
from upbeat_server.engine import step as engine_step
from upbeat_server.engine.collaboration import items
from upbeat_server.engine.commands import GradeAnswered, ItemsAnswered
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.events import ItemsAppended, ItemsClosed, TaskGraded
from upbeat_server.engine.model import Payload, Refusal

pb: Any = collaboration_service_pb2  # Messages take dicts for messages, which their stubs do not know.
ITEM = {"data": b"x"}


class OpenPipeline:
    """Takes items and grades in the place of the engine, and notes what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refusal: Refusal | None = None) -> None:
        self.told: list[ItemsAppended | ItemsClosed | TaskGraded] = []
        self._refusal = refusal
        for name in ("append_items", "close_items"):
            monkeypatch.setattr(items, name, self._take_items)
        monkeypatch.setattr(engine_step, "_grade", self._grade)

    def _take_items(self, engine: Engine, event: ItemsAppended | ItemsClosed, _now_ms: int) -> None:
        self.told.append(event)
        engine.commands.append(ItemsAnswered(event.origin, 7, self._refusal))

    def _grade(self, engine: Engine, event: TaskGraded) -> None:
        self.told.append(event)
        engine.commands.append(GradeAnswered(event.origin, event.agent_id, 5, 4, self._refusal))


async def finished(server: Served, **result: Any) -> str:
    """The id of a task that has ended; with an output unless another result is given."""
    agent = await WireAgent(server).connect()
    task = (await server.submit()).task
    lease_id = (await agent.hear()).assignments[0].lease_id
    await agent.say(
        attempt_acks=[{"lease_id": lease_id, "accepted": True}],
        results=[{"lease_id": lease_id, **(result or {"output": {"data": b"done"}})}],
    )
    await server.get(task.task_id, wait_s=int(PATIENCE_S))
    task_id: str = task.task_id
    return task_id


async def test_items_arrive_as_bytes_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = OpenPipeline(monkeypatch)
    async with served() as server:
        task_id = (await server.submit()).task.task_id
        sent = [ITEM, {"json": {"bool_value": True}}]
        unplaced = pb.AppendItemsRequest(task_id=task_id, items=sent)
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


async def test_a_grade_is_of_the_agent_whose_output_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = OpenPipeline(monkeypatch)
    async with served() as server:
        task_id = await finished(server)
        request = pb.GradeTaskRequest(task_id=task_id, correct=True)
        answer = await server.collaborations.GradeTask(request, timeout=PATIENCE_S)
        assert (answer.agent_id, answer.graded_count, answer.correct_count) == ("worker", 5, 4)
    (event,) = pipeline.told
    assert isinstance(event, TaskGraded)
    assert (event.agent_id, event.type, event.correct) == ("worker", "echo", True)
    assert f"{event.task_id:016x}" == task_id


async def test_only_what_somebody_completed_is_graded(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = OpenPipeline(monkeypatch)
    async with served() as server:
        waiting = (await server.submit("nobody")).task.task_id
        failed = await finished(server, error={"reason": "BROKEN", "non_retryable": True})
        for task_id, state in ((waiting, "QUEUED"), (failed, "FAILED")):
            request = pb.GradeTaskRequest(task_id=task_id)
            told = await told_by(server.collaborations.GradeTask(request, timeout=PATIENCE_S))
            assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_GRADABLE")
            assert told.metadata["state"] == state
    assert pipeline.told == []


async def test_a_grade_that_the_engine_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    OpenPipeline(monkeypatch, Refusal(reasons.NOT_GRADABLE, "no"))
    async with served() as server:
        request = pb.GradeTaskRequest(task_id=await finished(server))
        told = await told_by(server.collaborations.GradeTask(request, timeout=PATIENCE_S))
        assert told.reason == "NOT_GRADABLE"
