"""What agents worked on, lately and now."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.runtime import PATIENCE_S
from tests.support.served import Served, WireAgent, served
from upbeat.v1 import agent_service_pb2, task_pb2
from upbeat_server.engine.model import Attempt, AttemptOutcome
from upbeat_server.rpc.agent_attempts import latest

pb: Any = agent_service_pb2
Outcome: Any = task_pb2.Attempt


def ended(agent_id: str, end_ms: int) -> Any:
    return end_ms, "echo", Attempt(1, agent_id, start_ms=1, end_ms=end_ms, outcome=AttemptOutcome.COMPLETED)


@pytest.mark.parametrize(
    ("agent_id", "from_ms", "most", "told"),
    [("", 0, 9, [1, 2, 3, 4]), ("a", 0, 9, [1, 3]), ("", 3, 9, [3, 4]), ("", 0, 2, [3, 4]), ("", 0, 0, [])],
)
def test_the_latest_of_an_agent_are_told_oldest_first(
    agent_id: str, from_ms: int, most: int, told: list[int]
) -> None:
    kept = [ended("a", 1), ended("b", 2), ended("a", 3), ended("b", 4)]
    assert [entry[0] for entry in latest(kept, agent_id, from_ms, most)] == told


async def attempts(server: Served, agent_id: str = "-", **fields: Any) -> list[Any]:
    request = pb.ListAgentAttemptsRequest(agent_id=agent_id, **fields)
    return list((await server.agents.ListAgentAttempts(request, timeout=PATIENCE_S)).attempts)


async def test_ended_attempts_come_first_and_running_ones_last() -> None:
    async with served() as server:
        assert await attempts(server) == []
        first, second = [await WireAgent(server, name).connect() for name in ("first", "second")]
        done = (await server.submit()).task.task_id
        await first.finish((await first.assignment()).lease_id)
        await server.get(done, wait_s=int(PATIENCE_S))
        runs = [(await server.submit()).task.task_id for _ in range(2)]
        await second.assignment()
        one, *two = await attempts(server)
        assert (one.task_id, one.agent_id, one.type, one.attempt) == (done, "first", "echo", 1)
        assert one.outcome == Outcome.OUTCOME_COMPLETED
        assert one.HasField("end_time")
        assert sorted(attempt.task_id for attempt in two) == runs
        assert {attempt.outcome for attempt in two} == {Outcome.OUTCOME_UNSPECIFIED}
        assert not any(attempt.HasField("end_time") for attempt in two)
        assert [attempt.agent_id for attempt in await attempts(server, "second")] == ["second"]
        assert await attempts(server, "nobody") == []
        assert len(await attempts(server, limit=1)) == 1
