"""Agents on the wire that come and go, each by its own luck.

Some say goodbye, some are just gone; they finish work at once, slowly, never, or with
an error, give it back, say how they get on, and come back under a name that was used before.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc

from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import agent_service_pb2_grpc

if TYPE_CHECKING:
    from random import Random

    from tests.soak.tally import Tally

TYPES = ("summarize", "translate", "review", "index")
REGIONS = ("eu", "us", "asia")
LIFE_S = (3.0, 40.0)
BEAT_S = 0.8
END_S = 5.0


class SoakAgent:
    """One life of one agent."""

    def __init__(self, address: str, agent_id: str, rng: Random, tally: Tally) -> None:
        self._address = address
        self._agent_id = agent_id
        self._rng = rng
        self._tally = tally
        self._stream: Any = None
        self._sending = asyncio.Lock()
        self._works: set[asyncio.Task[None]] = set()

    async def live(self) -> None:
        """Come, work, leave."""
        life_s = self._rng.uniform(*LIFE_S)
        leaves_well = self._rng.random() < 0.5
        try:
            async with grpc.aio.insecure_channel(
                self._address, options=[("grpc.use_local_subchannel_pool", 1)]
            ) as channel:
                self._stream = agent_service_pb2_grpc.AgentServiceStub(channel).Connect()
                await self._say(hello=self._hello())
                beats = asyncio.create_task(self._beat())
                hears = asyncio.create_task(self._hear())
                try:
                    # Not a timeout around a read: to cancel a read is to cancel the call.
                    await asyncio.wait([hears], timeout=life_s)
                    if leaves_well and not hears.done():
                        await self._say(goodbye={"reason": "end of shift"})
                        await asyncio.wait([hears], timeout=END_S)
                    self._tally.count(f"agents left {'with a goodbye' if leaves_well else 'without a word'}")
                finally:
                    for task in (beats, hears, *self._works):
                        task.cancel()
                    ends = await asyncio.gather(hears, beats, *self._works, return_exceptions=True)
                    self._stream.cancel()
                if isinstance(ends[0], grpc.aio.AioRpcError):
                    self._tally.failed("agent", ends[0])
        except grpc.aio.AioRpcError as error:
            self._tally.failed("agent", error)
        except asyncio.InvalidStateError:
            self._tally.count("agents whose stream ended first")

    def _hello(self) -> dict[str, Any]:
        capabilities = self._rng.sample(TYPES, self._rng.randint(2, len(TYPES)))
        if self._rng.random() < 0.5:
            capabilities.append("gpu")
        return {
            "agent_id": self._agent_id,
            "name": self._agent_id,
            "capabilities": capabilities,
            "labels": {"region": self._rng.choice(REGIONS)},
            "slots": self._rng.randint(2, 16),
        }

    async def _say(self, **fields: Any) -> None:
        async with self._sending:
            await self._stream.write(wire.ConnectRequest(**fields))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._say(heartbeat={"load": 0.5})

    async def _hear(self) -> None:
        self._tally.count("agents came")
        while True:
            frame = await self._stream.read()
            if frame is grpc.aio.EOF:
                return
            for assignment in frame.assignments:
                work = asyncio.create_task(self._attempt(assignment))
                self._works.add(work)
                work.add_done_callback(self._works.discard)
            for cancel in frame.cancels:
                await self._say(
                    results=[
                        {"lease_id": cancel.lease_id, "error": {"reason": "CANCELLED", "message": "told"}}
                    ]
                )

    async def _attempt(self, assignment: wire.Assignment) -> None:
        """Work on it; once the stream has ended, nobody hears what came of it."""
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._work(assignment)

    async def _work(self, assignment: wire.Assignment) -> None:
        luck = self._rng.random()
        lease_id = assignment.lease_id
        if luck < 0.02:
            self._tally.count("attempts ignored")
            return
        if luck < 0.05:
            self._tally.count("attempts given back")
            await self._say(attempt_acks=[{"lease_id": lease_id, "accepted": False, "reason": "BUSY"}])
            return
        await self._say(attempt_acks=[{"lease_id": lease_id, "accepted": True}])
        await asyncio.sleep(self._rng.expovariate(1 / 0.05) if luck < 0.95 else self._rng.uniform(1, 4))
        if luck < 0.3:
            await self._say(
                progress=[
                    {
                        "lease_id": lease_id,
                        "fraction": 0.5,
                        "message": "half",
                        "chunk": b"c" * 200,
                        "sequence": 1,
                    }
                ]
            )
        if 0.6 < luck < 0.68:
            self._tally.count("attempts failed")
            error = {"reason": "FLAKY", "message": "planned"}
            await self._say(results=[{"lease_id": lease_id, "error": error, "usage": {"input_tokens": 3}}])
            return
        output = {"data": bytes(assignment.input.data)[::-1], "content_type": "text/plain"}
        await self._say(results=[{"lease_id": lease_id, "output": output}])
        self._tally.count("attempts completed")


async def staff(address: str, places: int, rng: Random, tally: Tally) -> None:
    """Keep so many agents alive, for ever: whoever leaves is replaced, by somebody new or by a return."""
    names = [f"returning-{number}" for number in range(places)]

    async def place(number: int) -> None:
        life = 0
        while True:
            life += 1
            name = names[number] if rng.random() < 0.5 else f"once-{number}-{life}"
            await SoakAgent(address, name, rng, tally).live()
            await asyncio.sleep(rng.uniform(0.05, 1.0))

    async with asyncio.TaskGroup() as group:
        for number in range(places):
            group.create_task(place(number))
