"""Random sequences of frames: every stream ends as the contract says or goes on, and leaves nothing behind.

The last frame of a sequence is one that is always answered by name, so that a stream that
went on is known to have taken everything before.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from tests.server.rpc.bad_input.case import CONNECT, NO_LEASE, STREAM, agents_pb, hello, tasks_pb
from tests.server.rpc.bad_input.generated import (
    LEASE,
    SESSION,
    TASK,
    WORK,
    budget,
    messages,
    mutated,
    resolve,
)
from tests.server.rpc.bad_input.whole_server import LEAKED, WholeServer, is_fit_for_callers, is_made_up
from tests.support.runtime import PATIENCE_S
from upbeat_server.engine import invariants

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENT_FRAME = messages(agents_pb.ConnectRequest.DESCRIPTOR)
SUBMITTER_FRAME = messages(tasks_pb.StreamTasksRequest.DESCRIPTOR)
GOOD_HELLO = st.sampled_from(("g1", "g2")).map(
    lambda name: hello(agent_id=name, capabilities=[WORK, "other.work"], slots=3)
)
_NUMBERS = itertools.count()


class Conversation:
    """One raw stream: frames are written, what is answered is read and noted until a last word comes."""

    def __init__(self, server: WholeServer, method: str, answer: Any) -> None:
        self._call: Any = server.channel.stream_stream(f"/{method}")(timeout=PATIENCE_S)
        self._answer = answer
        self.known = {LEASE: NO_LEASE, **server.known}

    async def say(self, frame: Message | bytes) -> None:
        """Write a frame, unless the stream is over."""
        data = frame if isinstance(frame, bytes) else resolve(frame, self.known).SerializeToString()
        try:
            await self._call.write(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self.hear()

    async def hear(self) -> Any:
        """The next answer; None when the stream is over."""
        try:
            data = await self._call.read()
        except grpc.aio.AioRpcError as error:
            if not is_made_up(error):
                is_fit_for_callers(error)
            return None
        if data is grpc.aio.EOF:
            return None
        frame = self._answer.FromString(data)
        self._note(frame)
        return frame

    def close(self) -> None:
        """Leave without a word."""
        self._call.cancel()

    def _note(self, frame: Any) -> None:
        """Ids that later frames may name; what is said of a bad frame is fit for a caller."""
        if isinstance(frame, agents_pb.ConnectResponse):
            for assignment in frame.assignments:
                self.known |= {LEASE: assignment.lease_id, TASK: assignment.task_id}
            if frame.HasField("welcome"):
                self.known[SESSION] = frame.welcome.session_id
            words = [frame.error.message, *(v.description for v in frame.error.violations)]
        else:
            words = [refused.error.message for refused in frame.refused]
        for text in words:
            assert text.isprintable()
            assert not LEAKED.search(text), text


def sound(server: WholeServer) -> list[str]:
    """What is wrong with the engines, if anything."""
    return [
        fault for space in server.app.orchestrator._catalog.all() for fault in invariants.check(space.engine)
    ]


async def submit_some(server: WholeServer) -> None:
    for _ in range(2):
        spec = {"type": WORK, "retry": {"max_attempts": 1}}
        await server.tasks.SubmitTask(tasks_pb.SubmitTaskRequest(spec=spec), timeout=PATIENCE_S)


async def play_agent(server: WholeServer, frames: list[Message | bytes]) -> None:
    """An agent says all this, and asks at last about a lease of which only it knows."""
    await submit_some(server)
    agent = Conversation(server, CONNECT, agents_pb.ConnectResponse)
    await agent.say(frames[0])
    await agent.hear()
    for number, frame in enumerate(frames[1:], 2):
        if not isinstance(frame, bytes) and number < len(frames):
            frame.ClearField("hello")  # Else most sequences end with it before they have begun.
        await agent.say(frame)
    last = f"last-{next(_NUMBERS)}"
    await agent.say(agents_pb.ConnectRequest(results=[{"lease_id": last}]))
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await agent.hear()) is not None:
            if last in [ack.lease_id for ack in answer.result_acks]:
                break
    agent.close()
    assert sound(server) == []
    await server.is_unharmed()


async def play_submitter(server: WholeServer, frames: list[Message | bytes]) -> None:
    """A caller says all this, and submits at last what has no spec."""
    caller = Conversation(server, STREAM, tasks_pb.StreamTasksResponse)
    for frame in frames:
        await caller.say(frame)
    last = f"last-{next(_NUMBERS)}"
    await caller.say(tasks_pb.StreamTasksRequest(requests=[{"request_id": last}]))
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await caller.hear()) is not None:
            if last in [refused.request_id for refused in answer.refused]:
                break
    caller.close()
    assert sound(server) == []
    await server.is_unharmed()


@budget(20)
@given(
    first=st.one_of(GOOD_HELLO, GOOD_HELLO, GOOD_HELLO, AGENT_FRAME), frames=st.lists(AGENT_FRAME, max_size=8)
)
async def test_any_sequence_of_an_agent_is_answered(
    first: Message, frames: list[Message], server: WholeServer
) -> None:
    await play_agent(server, [first, *frames])


@budget(20)
@given(frames=st.lists(SUBMITTER_FRAME, min_size=1, max_size=8))
async def test_any_sequence_of_a_caller_is_answered(frames: list[Message], server: WholeServer) -> None:
    await play_submitter(server, list(frames))


def bytes_of(*frames: Message) -> tuple[bytes, ...]:
    return tuple(frame.SerializeToString() for frame in frames)


AGENT_BYTES = bytes_of(
    hello(),
    agents_pb.ConnectRequest(heartbeat={"slots": 3}, drain={}),
    agents_pb.ConnectRequest(
        attempt_acks=[{"lease_id": "0" * 19 + "1", "accepted": True}],
        progress=[{"lease_id": "0" * 19 + "1", "fraction": 0.5, "message": "m", "chunk": b"c"}],
        results=[{"lease_id": "0" * 19 + "1", "output": {"data": b"x"}, "usage": {"input_tokens": 5}}],
    ),
    agents_pb.ConnectRequest(capability_changes=[{"capability": "c"}], goodbye={"reason": "bye"}),
)
SUBMITTER_BYTES = bytes_of(
    tasks_pb.StreamTasksRequest(
        requests=[
            {"request_id": "m1", "spec": {"type": WORK, "labels": {"a": "b"}, "input": {"data": b"x"}}},
            {"request_id": "m2", "spec": {"type": WORK, "retry": {"max_attempts": 2}}},
        ]
    ),
    tasks_pb.StreamTasksRequest(namespace="default", attach=["m1"], finished_acks=["m2"]),
)


@budget(12)
@given(first=GOOD_HELLO, frames=st.lists(mutated(AGENT_BYTES), min_size=1, max_size=5))
async def test_mutated_frames_of_an_agent_are_answered(
    first: Message, frames: list[bytes], server: WholeServer
) -> None:
    await play_agent(server, [first, *frames])


@budget(12)
@given(frames=st.lists(mutated(SUBMITTER_BYTES), min_size=1, max_size=5))
async def test_mutated_frames_of_a_caller_are_answered(frames: list[bytes], server: WholeServer) -> None:
    await play_submitter(server, list(frames))
