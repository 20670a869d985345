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
