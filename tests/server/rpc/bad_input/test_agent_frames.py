"""Every bad frame of an agent is answered, the good result beside it counts, and the stream goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.server.rpc.bad_input.agent_frames import CASES, LIVE, Outcome
from tests.server.rpc.bad_input.case import FrameCase, agents_pb, tasks_pb
from tests.server.rpc.bad_input.whole_server import LEAKED, WholeServer, is_fit_for_callers
from tests.support.runtime import PATIENCE_S
from upbeat.v1 import task_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORK = "framed.work"
FRAME_BYTES_MAX = 16 << 10
"""What the server has to say about a bad frame is not much."""


class Framed:
    """An agent with two running attempts, and what the server says to it."""

    def __init__(self, server: WholeServer) -> None:
        self._server = server
        self.stream: Any = server.agents.Connect(timeout=PATIENCE_S)
        self.task_ids: list[str] = []
        self.leases: list[str] = []
        self.outcomes: dict[str, int] = {}
        self.errors: list[Any] = []

    async def connect(self, agent_id: str = "framed") -> Framed:
        """Say hello and take two attempts."""
        spec = {"type": WORK, "retry": {"max_attempts": 1}}
        for _ in range(2):
            answer = await self._server.tasks.SubmitTask(tasks_pb.SubmitTaskRequest(spec=spec))
            self.task_ids.append(answer.task.task_id)
        hello = {"agent_id": agent_id, "capabilities": [WORK], "slots": 2}
        await self.stream.write(agents_pb.ConnectRequest(hello=hello))
        while len(self.leases) < 2:
            self.leases += [assignment.lease_id for assignment in (await self.hear()).assignments]
        acks = [{"lease_id": lease_id, "accepted": True} for lease_id in self.leases]
        await self.stream.write(agents_pb.ConnectRequest(attempt_acks=acks))
        return self

    async def hear(self) -> Any:
        """The next frame; notes what was answered."""
        frame = await self.stream.read()
        assert frame is not grpc.aio.EOF
        for ack in frame.result_acks:
            self.outcomes[ack.lease_id] = ack.outcome
        if frame.HasField("error"):
            self.errors.append(frame.error)
            assert frame.ByteSize() <= FRAME_BYTES_MAX
            assert frame.error.message.isprintable()
            assert not LEAKED.search(frame.error.message)
        return frame

    async def leave(self) -> None:
        """Half-close, take what still comes, and end what is left of the work."""
        await self.stream.done_writing()
        while await self.stream.read() is not grpc.aio.EOF:
            pass
        for task_id in self.task_ids:
            try:
                await self._server.tasks.CancelTask(tasks_pb.CancelTaskRequest(task_id=task_id))
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.FAILED_PRECONDITION  # noqa: PT017 - it may be finished

    async def state(self, number: int) -> Any:
        """A task as it is."""
        request = tasks_pb.GetTaskRequest(task_id=self.task_ids[number])
        return (await self._server.tasks.GetTask(request, timeout=PATIENCE_S)).task


def with_lease(case: FrameCase, live: str, good: str) -> Any:
    """The frame of a case with real leases, and a good result at its end."""
    frame = agents_pb.ConnectRequest()
    frame.CopyFrom(case.frame)
    for item in (*frame.progress, *frame.results):
        if item.lease_id == LIVE:
            item.lease_id = live
    frame.results.add(lease_id=good).output.data = b"good"
    return frame


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_bad_frame_is_answered_and_the_good_result_in_it_counts(
    case: FrameCase, server: WholeServer
) -> None:
    agent = await Framed(server).connect()
    live, good = agent.leases
    frame = with_lease(case, live, good)
    await agent.stream.write(frame)
    bad = frame.results[0].lease_id[:64] if case.outcome else ""
    async with asyncio.timeout(PATIENCE_S):
        while good not in agent.outcomes or (bad and bad not in agent.outcomes):
            await agent.hear()
        while case.reason and not agent.errors:
            await agent.hear()
    assert agent.outcomes[good] == Outcome.OUTCOME_ACCEPTED
    assert agent.outcomes.get(bad, 0) == case.outcome
    if case.reason:
        (error,) = agent.errors
        assert error.reason == case.reason
        assert case.field in [violation.field for violation in error.violations]
    else:
        assert agent.errors == []
    done = await agent.state(1)
    assert (done.state, done.output.data) == (task_pb2.Task.STATE_COMPLETED, b"good")
    await agent.leave()
    await server.is_unharmed()


async def test_a_result_counts_once_whoever_sends_it_again(server: WholeServer) -> None:
    agent = await Framed(server).connect()
    first, second = agent.leases
    once = agents_pb.ConnectRequest(results=[{"lease_id": first, "output": {"data": b"once"}}])
    again = agents_pb.ConnectRequest(results=[{"lease_id": first, "output": {"data": b"again"}}])
    for frame in (once, again):
        agent.outcomes.clear()
        await agent.stream.write(frame)
        while first not in agent.outcomes:
            await agent.hear()
        assert agent.outcomes[first] == Outcome.OUTCOME_ACCEPTED
    assert (await agent.state(0)).output.data == b"once"
    # The server has no such lease yet: it would be the task's next attempt.
    future = f"{int(second, 16) + 1:020x}"
    await agent.stream.write(agents_pb.ConnectRequest(results=[{"lease_id": future, "output": {}}]))
    while future not in agent.outcomes:
        await agent.hear()
    assert agent.outcomes[future] == Outcome.OUTCOME_UNKNOWN
    assert (await agent.state(1)).state == task_pb2.Task.STATE_RUNNING
    await agent.leave()
    await server.is_unharmed()


async def test_a_lease_of_another_agent_and_a_lease_that_was_lost_are_stale(server: WholeServer) -> None:
    agent = await Framed(server).connect()
    thief: Any = server.agents.Connect(timeout=PATIENCE_S)
    hello = {"agent_id": "thief", "capabilities": ["theft"], "slots": 1}
    stolen = [{"lease_id": agent.leases[0], "output": {"data": b"stolen"}}]
    await thief.write(agents_pb.ConnectRequest(hello=hello, results=stolen))
    acks: list[Any] = []
    while not acks:
        acks = list((await thief.read()).result_acks)
    assert acks[0].outcome == Outcome.OUTCOME_STALE
    assert (await agent.state(0)).state == task_pb2.Task.STATE_RUNNING
    await thief.done_writing()
    # Given back, a lease is nobody's.
    back = {"lease_id": agent.leases[0], "accepted": False}
    await agent.stream.write(agents_pb.ConnectRequest(attempt_acks=[back], results=stolen))
    while agent.leases[0] not in agent.outcomes:
        await agent.hear()
    assert agent.outcomes[agent.leases[0]] in (Outcome.OUTCOME_STALE, Outcome.OUTCOME_ACCEPTED)
    await agent.leave()
    await server.is_unharmed()


async def test_the_newer_stream_of_an_agent_fences_the_older(server: WholeServer) -> None:
    older = await Framed(server).connect("twin")
    newer: Any = server.agents.Connect(timeout=PATIENCE_S)
    hello = {"agent_id": "twin", "capabilities": ["other.work"], "slots": 1}
    await newer.write(agents_pb.ConnectRequest(hello=hello))
    assert (await newer.read()).HasField("welcome")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await older.hear()
    told = is_fit_for_callers(caught.value)
    assert (told.code, told.reason) == (grpc.StatusCode.ABORTED, "FENCED")
    await newer.done_writing()
    while await newer.read() is not grpc.aio.EOF:
        pass
    for task_id in older.task_ids:
        await server.tasks.CancelTask(tasks_pb.CancelTaskRequest(task_id=task_id))
    await server.is_unharmed()


async def test_capabilities_stay_bounded_however_many_frames_bring_more(server: WholeServer) -> None:
    agent = await Framed(server).connect("greedy")
    for number in range(3):
        wanted = [{"capability": f"more.{number}.{n}"} for n in range(200)]
        await agent.stream.write(agents_pb.ConnectRequest(capability_changes=wanted))
    while len(agent.errors) < 2:
        await agent.hear()
    known = (await server.agents.GetAgent(agents_pb.GetAgentRequest(agent_id="greedy"))).agent
    assert len(known.capabilities) == 256
    await agent.leave()
    await server.is_unharmed()
