"""Collaborations over a real port, as a caller and an agent see them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.runtime import PATIENCE_S
from tests.support.served import Served, WireAgent, served
from upbeat.v1 import task_service_pb2

pb: Any = task_service_pb2  # Messages take dicts for messages, which their stubs do not know.
PENDING, QUEUED, RUNNING, COMPLETED, CANCELLED = 1, 2, 3, 4, 6
STEPS = [{"type": "echo", "name": "first"}, {"type": "echo", "name": "second", "labels": {"a": "1"}}]
TWO_STEPS: dict[str, Any] = {
    "input": {"data": b"asked"},
    "priority": 3,
    "traceparent": "00-1-2-03",
    "collaboration": {"sequential": {"steps": STEPS}},
}


async def submitted(server: Served, **spec: Any) -> Any:
    return (await server.submit("", **spec)).task


async def children_of(server: Served, task_id: str) -> list[Any]:
    request = pb.ListTasksRequest(filter=f"parent = {task_id}", view=2)
    return list((await server.tasks.ListTasks(request, timeout=PATIENCE_S)).tasks)


async def test_a_collaboration_is_answered_at_once_and_its_children_do_the_work() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        task = await submitted(server, **TWO_STEPS)
        assert (task.spec.type, task.state) == ("", RUNNING)
        assert [step.name for step in task.spec.collaboration.sequential.steps] == ["first", "second"]
        for number, given in enumerate((b"asked", b"out 0")):
            assignment = await agent.assignment()
            assert assignment.parent_task_id == task.task_id
            assert assignment.input.data == given
            assert assignment.traceparent == "00-1-2-03"
            assert assignment.idempotency_key.startswith(f"default/{task.task_id}/")
            await agent.finish(assignment.lease_id, b"out %d" % number)
        done = await server.get(task.task_id, wait_s=int(PATIENCE_S))
        assert (done.state, done.output.data) == (COMPLETED, b"out 1")
        assert done.collaboration_result.mode == "sequential"
        assert (done.children.completed, done.children.live) == (2, 0)
        children = await children_of(server, task.task_id)
        assert [child.ordinal for child in children] == [0, 1]
        assert [child.spec.name for child in children] == ["first", "second"]
        assert [child.spec.priority for child in children] == [3, 3]
        assert {child.root_task_id for child in children} == {task.task_id}
        assert [child.task_id for child in children] == list(done.collaboration_result.child_task_ids)


async def test_a_step_is_given_its_context() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        await submitted(server, **TWO_STEPS)
        await agent.finish((await agent.assignment()).lease_id, b"out")
        second = await agent.assignment()
        assert {entry.name: entry.payload.data for entry in second.context}["original"] == b"asked"


async def test_children_are_watched_by_their_parent() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        task = await submitted(server, **TWO_STEPS)
        await submitted(server, **TWO_STEPS)  # Another one, of which the watch tells nothing.
        request = pb.WatchTasksRequest(parent_task_id=task.task_id)
        watch = server.tasks.WatchTasks(request, timeout=PATIENCE_S)
        ended: list[str] = []
        reader = asyncio.create_task(_follow(watch, task.task_id, ended))
        for _ in range(4):
            assignment = await agent.assignment()
            await agent.finish(assignment.lease_id)
        async with asyncio.timeout(PATIENCE_S):
            await reader
        assert ended == ["first", "second"]


async def _follow(watch: Any, parent_id: str, ended: list[str]) -> None:
    """Note the names of children that complete, until there are two."""
    while len(ended) < 2:
        for event in (await watch.read()).events:
            assert event.task.parent_task_id == parent_id
            if event.task.state == COMPLETED:
                ended.append(event.task.spec.name)
    watch.cancel()


async def test_cancelling_a_collaboration_tells_the_agent_how_long_there_is() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        spec = TWO_STEPS | {"collaboration": {"sequential": {"steps": STEPS}, "cancel_grace": {"seconds": 2}}}
        task = await submitted(server, **spec)
        assignment = await agent.assignment()
        await server.tasks.CancelTask(pb.CancelTaskRequest(task_id=task.task_id), timeout=PATIENCE_S)
        while not (frame := await agent.hear()).cancels:
            pass
        (cancel,) = frame.cancels
        assert cancel.lease_id == assignment.lease_id
        assert cancel.grace.ToMilliseconds() == 2_000
        (child,) = await children_of(server, task.task_id)
        assert child.state == CANCELLED


async def test_a_repeated_submission_is_the_same_collaboration() -> None:
    async with served() as server:
        first = await submitted(server, request_id="r1", **TWO_STEPS)
        said = {"sequential": {"steps": STEPS, "context": 2}, "max_concurrency": 16}
        again = await submitted(server, request_id="r1", **(TWO_STEPS | {"collaboration": said}))
        assert again.task_id == first.task_id
