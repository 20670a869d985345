"""An agent that keeps to no rule: old leases, others' leases, double results, nonsense.

It uses no SDK. What it reports for a lease that it was given may be accepted - the server
cannot know better - everything else must not be.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc

from tests.simulation.calls import ClientCall, Stub
from tests.simulation.virtual_loop import Host
from upbeat.v1 import agent_service_pb2

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.claims import Claims
    from tests.simulation.network import Network

pb: Any = agent_service_pb2


class Liar:
    """One life of it."""

    def __init__(self, number: int, network: Network, claims: Claims, rng: Random, types: list[str]) -> None:
        self.host = Host(f"liar#{number}")
        self._stub: Any = Stub(network, self.host, "AgentService")
        self._claims = claims
        self._rng = rng
        self._types = types
        self._own: list[str] = []
        self._session_id = ""

    async def live(self) -> None:
        """Connect, lie, connect again."""
        while True:
            call: ClientCall = self._stub.Connect()
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
                await call.write(pb.ConnectRequest(hello=self._hello()))
                reader = asyncio.get_running_loop().create_task(self._listen(call))
                for _ in range(self._rng.randrange(1, 30)):
                    await asyncio.sleep(self._rng.random())
                    await call.write(self._lie())
                reader.cancel()
            call.cancel()
            await asyncio.sleep(self._rng.random() * 2)

    async def _listen(self, call: ClientCall) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            while (frame := await call.read()) is not grpc.aio.EOF:
                self._own.extend(assignment.lease_id for assignment in frame.assignments)
                if frame.HasField("welcome"):
                    self._session_id = frame.welcome.session_id

    def _hello(self) -> Any:
        rng = self._rng
        held = [self._lease() for _ in range(rng.randrange(3))]
        return pb.Hello(
            agent_id="liar" if rng.random() < 0.8 else f"liar-{rng.randrange(3)}",
            capabilities=rng.sample(self._types, rng.randrange(1, len(self._types) + 1)),
            slots=rng.choice((1, 2, 5)),
            session_id=self._session_id if rng.random() < 0.7 else "",
            held_leases=[lease for lease in held if int(lease, 16)],
        )

    def _lease(self) -> str:
        """One of its own, another's, one that will be or never was."""
        luck = self._rng.random()
        if self._own and luck < 0.4:
            return self._rng.choice(self._own[-10:])
        if self._claims.starts and luck < 0.9:
            lease = self._rng.choice(self._claims.starts[-20:])[1]
            return lease if luck < 0.75 else f"{int(lease, 16) + self._rng.choice((1, -1)):020x}"
        return f"{self._rng.getrandbits(70):020x}"

    def _lie(self) -> Any:
        rng = self._rng
        frame = pb.ConnectRequest()
        for _ in range(rng.randrange(1, 4)):
            match rng.randrange(9):
                case 0 | 1:
                    frame.results.add(lease_id=self._lease(), output={"data": b"a lie"})
                case 2:
                    lease = self._lease()
                    for _ in range(2):
                        frame.results.add(lease_id=lease, error={"reason": "LIED"})
                case 3:
                    frame.attempt_acks.add(lease_id=self._lease(), accepted=rng.random() < 0.6)
                case 4:
                    frame.progress.add(lease_id=self._lease(), fraction=rng.random() * 2 - 0.5)
                case 5:
                    frame.heartbeat.slots = rng.choice((0, 1, 3, 20_000))
                case 6:
                    frame.capability_changes.add(
                        capability=rng.choice(self._types), removed=rng.random() < 0.5
                    )
                case 7:
                    frame.results.add(lease_id=self._lease())
                case _:
                    frame.heartbeat.load = 7.0
        if rng.random() < 0.03:
            frame.hello.CopyFrom(self._hello())
        if rng.random() < 0.05:
            frame.goodbye.reason = "lying"
        if rng.random() < 0.03:
            frame.drain.SetInParent()
        return frame
