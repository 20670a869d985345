"""An agent's stream as a fake server holds it: welcome it, hand it work, hear its results."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.fake_server import TIMEOUT_S, Conversation, FakeServer
from upbeat import Agent
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import payload_pb2


async def met(server: FakeServer, **welcome: Any) -> Conversation:
    """The agent's next stream, welcomed."""
    stream = await server.conversation("Connect")
    frame = await stream.hear()
    assert frame.HasField("hello")
    stream.request = frame.hello
    answer = wire.ConnectResponse(welcome=wire.Welcome(session_id="s-1", **welcome))
    answer.welcome.heartbeat_interval.FromMilliseconds(60_000)
    await stream.say(answer)
    return stream


async def started(server: FakeServer, agent: Agent) -> Conversation:
    """A started agent's stream."""
    starting = asyncio.create_task(agent.start(server.address, drain_timeout=TIMEOUT_S))
    stream = await met(server)
    await starting
    return stream


def assignment(task_type: str, lease: str = "l1", data: bytes = b"null", **more: Any) -> wire.ConnectResponse:
    item = wire.Assignment(task_id="t1", lease_id=lease, attempt=1, type=task_type, **more)
    item.input.CopyFrom(payload_pb2.Payload(content_type="application/json", data=data))
    return wire.ConnectResponse(assignments=[item])


async def result(stream: Conversation, lease: str = "l1") -> wire.AttemptResult:
    """The result of a lease, which is acknowledged."""
    while True:
        frame = await stream.hear_until(lambda frame: frame.results)
        for item in frame.results:
            if item.lease_id == lease:
                await stream.say(
                    wire.ConnectResponse(
                        result_acks=[wire.ResultAck(lease_id=lease, outcome=wire.ResultAck.OUTCOME_ACCEPTED)]
                    )
                )
                answer: wire.AttemptResult = item
                return answer
