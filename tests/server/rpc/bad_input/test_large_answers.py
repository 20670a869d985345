"""Answers stay small enough to be taken, whatever callers and agents have filled the server with."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.server.rpc.bad_input.case import Code, agents_pb, tasks_pb
from tests.support.runtime import PATIENCE_S
from tests.support.served import WireAgent, served, told_by
from upbeat_server.runtime.bounds import PayloadBounds, RuntimeBounds

PAGE_BYTES_MAX = 1 << 16
LABELS = {f"{number:063}": "x" * 255 for number in range(25)}
WIDE = [f"{number:0126}" for number in range(256)]
"""What an agent may offer at most: 33 KB."""


async def test_a_batch_whose_answer_nobody_could_take_is_refused_before_anything_is_submitted() -> None:
    async with served() as server:
        requests: Any = [{"spec": {"type": "echo", "labels": LABELS}}] * 1_000
        batch = tasks_pb.BatchSubmitTasksRequest(requests=requests)
        told = await told_by(server.tasks.BatchSubmitTasks(batch, timeout=PATIENCE_S))
        assert (told.code, told.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD"), told.message
        assert told.fields == ["requests"]
        tasks = (await server.tasks.ListTasks(tasks_pb.ListTasksRequest(), timeout=PATIENCE_S)).tasks
        assert not tasks


async def test_a_batch_of_large_inputs_is_taken_because_its_answer_leaves_them_out() -> None:
    async with served() as server:
        requests: Any = [{"spec": {"type": "echo", "input": {"data": bytes(7_000)}}}] * 1_000
        batch = tasks_pb.BatchSubmitTasksRequest(requests=requests)
        results = (await server.tasks.BatchSubmitTasks(batch, timeout=PATIENCE_S)).results
        assert sum(result.HasField("task") for result in results) == 1_000


def wide(steps: int, candidates: int = 1) -> Any:
    """A collaboration that is small to send; answered, it has each candidate as often as it is run."""
    step: Any = {"type": "echo", "labels": {"l": "x" * 200}}
    inner = {"collaboration": {"parallel": {"steps": [step] * steps}}}
    race = {"candidates": [inner], "count": candidates}
    return {"spec": {"collaboration": {"competitive": race, "max_concurrency": 1}}}


async def test_a_batch_of_collaborations_that_grow_in_the_answer_is_refused_before_it_is_submitted() -> None:
    async with served() as server:
        batch = tasks_pb.BatchSubmitTasksRequest(requests=[wide(60, 15)] * 40)
        assert batch.ByteSize() < 1 << 20
        told = await told_by(server.tasks.BatchSubmitTasks(batch, timeout=PATIENCE_S))
        assert (told.code, told.fields) == (Code.INVALID_ARGUMENT, ["requests"])
        tasks = (await server.tasks.ListTasks(tasks_pb.ListTasksRequest(), timeout=PATIENCE_S)).tasks
        assert not tasks


async def test_payloads_of_collaborations_do_not_count_into_the_answer() -> None:
    async with served() as server:
        step: Any = {"type": "echo", "input": {"data": bytes(80_000)}}
        line = {"stages": [step], "items": [{"data": bytes(80_000)}]}
        requests: Any = [
            {"spec": {"collaboration": {"pipeline": line}, "input": {"data": bytes(40_000)}}}
        ] * 30
        batch = tasks_pb.BatchSubmitTasksRequest(requests=requests)
        response = await server.tasks.BatchSubmitTasks(batch, timeout=PATIENCE_S)
        assert sum(result.HasField("task") for result in response.results) == 30
        assert response.ByteSize() < 1 << 16


async def test_pages_and_frames_of_wide_collaborations_can_be_taken() -> None:
    async with served() as server:
        submitted: set[str] = set()
        for _ in range(4):
            request = tasks_pb.SubmitTaskRequest(**wide(60, 15))
            answer = await server.tasks.SubmitTask(request, timeout=PATIENCE_S)
            assert answer.ByteSize() < 300 << 10
            submitted.add(answer.task.task_id)
        watch = server.tasks.WatchTasks(tasks_pb.WatchTasksRequest(), timeout=PATIENCE_S)
        seen: set[str] = set()
        is_done = False
        while not is_done:
            frame = await watch.read()
            assert frame.ByteSize() < 3 << 20
            seen |= {event.task.task_id for event in frame.events}
            is_done = frame.snapshot_done
        listed: set[str] = set()
        token = ""
        while True:
            request = tasks_pb.ListTasksRequest(page_size=1_000, page_token=token)
            page = await server.tasks.ListTasks(request, timeout=PATIENCE_S)
            assert page.ByteSize() <= 3 << 20
            listed |= {task.task_id for task in page.tasks}
            token = page.next_page_token
            if not token:
                break
        assert submitted < listed == seen  # Their children are there as well.


@pytest.mark.parametrize("count", [1, 7])
async def test_agents_that_offer_much_come_in_frames_and_pages_that_can_be_taken(count: int) -> None:
    bounds = RuntimeBounds(payloads=PayloadBounds(page_bytes_max=PAGE_BYTES_MAX))
    async with served(bounds=bounds) as server:
        for number in range(count):
            await WireAgent(server, f"wide-{number}", capabilities=WIDE).connect()
        watch = server.agents.WatchAgents(agents_pb.WatchAgentsRequest(), timeout=PATIENCE_S)
        seen: list[str] = []
        is_done = False
        while not is_done:
            frame = await watch.read()
            assert frame is not grpc.aio.EOF
            assert frame.ByteSize() <= PAGE_BYTES_MAX
            seen += [agent.agent_id for agent in frame.agents]
            is_done = frame.snapshot_done
        assert seen == [f"wide-{number}" for number in range(count)]
        listed: list[str] = []
        token = ""
        while len(listed) < count:
            request = agents_pb.ListAgentsRequest(page_token=token)
            page = await server.agents.ListAgents(request, timeout=PATIENCE_S)
            assert page.ByteSize() <= PAGE_BYTES_MAX
            listed += [agent.agent_id for agent in page.agents]
            token = page.next_page_token
        assert (listed, token) == (seen, "")
