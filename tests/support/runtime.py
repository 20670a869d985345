"""A runtime for tests: started, stopped, and agents that talk to it without a wire."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.hand_clock import HandClock
from upbeat_server.engine.events import AgentConnected, AgentFrame, AttemptAcked, AttemptEnded, Submission
from upbeat_server.engine.model import NO_SESSION, Payload, Refusal, TaskId, TaskSpec
from upbeat_server.runtime.orchestrator import Orchestrator
from upbeat_server.runtime.snapshot import TaskSnapshot
from upbeat_server.store import codec
from upbeat_server.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from upbeat_server.engine.limits import Limits
    from upbeat_server.runtime.bounds import RuntimeBounds
    from upbeat_server.runtime.outbox import Parcel

PATIENCE_S = 20.0


@asynccontextmanager
async def running(
    store: Any = None,
    clock: HandClock | None = None,
    limits: Limits | None = None,
    bounds: RuntimeBounds | None = None,
) -> AsyncIterator[Orchestrator]:
    """A started orchestrator."""
    orchestrator = Orchestrator(store or MemoryStore(), clock or HandClock(), limits, bounds)
    await orchestrator.start()
    try:
        yield orchestrator
    finally:
        await orchestrator.stop()


def submission(request_id: str = "", **fields: Any) -> Submission:
    """A submission of type ``echo``."""
    fields.setdefault("type", "echo")
    spec = TaskSpec(**fields)
    spec_bytes = codec.encode_spec(spec)
    return Submission(0, spec, spec_bytes, codec.fingerprint(spec_bytes), request_id)


async def submit(orchestrator: Orchestrator, request_id: str = "", **fields: Any) -> TaskId:
    """Submit one task and answer its id."""
    (answer,) = await orchestrator.submit("default", [submission(request_id, **fields)])
    assert isinstance(answer, TaskSnapshot), answer
    return TaskId(answer.record.task_id)


async def settle(turns: int = 20) -> None:
    """Let everything that is ready to run do so."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let everything run until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event for whatever a test looks at
            await asyncio.sleep(0)


class Worker:
    """An agent on a session of its own."""

    def __init__(self, orchestrator: Orchestrator, agent_id: str = "worker", slots: int = 1) -> None:
        self.orchestrator = orchestrator
        self.agent_id = agent_id
        self.slots = slots
        self._first: Parcel | None = None

    async def connect(self, held_leases: list[int] | None = None, session_id: int = NO_SESSION) -> Worker:
        """Say hello."""
        self.session = await self.orchestrator.open_agent_session("default")
        hello = AgentConnected(
            0,
            self.agent_id,
            self.agent_id,
            ["echo"],
            {},
            self.slots,
            session_id,  # type: ignore[arg-type]
            held_leases or [],
        )
        await self.session.open(hello)
        first = await self.parcel()
        self.welcome, self.drain = first.welcome, first.drain
        self._first = first if first.assignments else None
        return self

    async def parcel(self) -> Parcel:
        """The next frame; what came with the welcome is one."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        async with asyncio.timeout(PATIENCE_S):
            parcel = await self.session.outbox.take()
        assert parcel is not None
        return parcel

    async def lease(self) -> int:
        """The lease of the next assignment."""
        while not (parcel := await self.parcel()).assignments:
            pass
        return parcel.assignments[0].lease_id

    async def say(self, **fields: Any) -> None:
        """Send a frame."""
        await self.session.report(AgentFrame(NO_SESSION, **fields), 100)

    async def finish(self, lease_id: int, data: bytes = b"done") -> None:
        """Acknowledge an assignment and report its result."""
        ended = AttemptEnded(lease_id, Payload("", data))
        await self.say(acks=[AttemptAcked(lease_id, True)], results=[ended])

    async def ended(self) -> Refusal | None:
        """How the stream was ended."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.session.closed
