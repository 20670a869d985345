"""A server process: the real runtime behind the real doors, until it is killed or stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from tests.simulation.calls import SERVICES, ServerContext
from tests.simulation.virtual_loop import Host
from upbeat_server.rpc.agent_service import AgentService
from upbeat_server.rpc.collaboration_service import CollaborationService
from upbeat_server.rpc.door import Door, Method
from upbeat_server.rpc.method import rpc_handler
from upbeat_server.rpc.task_service import TaskService
from upbeat_server.runtime.orchestrator import Orchestrator
from upbeat_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.simulation.disk import Disk
    from tests.simulation.network import Network, Wire
    from tests.simulation.virtual_loop import VirtualLoop
    from upbeat_server.engine.limits import Limits
    from upbeat_server.runtime.bounds import RuntimeBounds

OK = (grpc.StatusCode.OK, "", ())
WALL_MS = 1_790_000_000_000


class SimulatedClock:
    """Engine time of one server process: a wall clock that may be wrong when it starts."""

    def __init__(self, loop: VirtualLoop, rng: Random, wrong_by_ms: int) -> None:
        self._loop = loop
        self._rng = rng
        self._offset_ms = WALL_MS + wrong_by_ms

    def now_ms(self) -> int:
        """See Clock."""
        return int(self._loop.time() * 1_000) + self._offset_ms

    def worked_s(self) -> float:
        """No processor is simulated."""
        return 0.0

    def entropy(self) -> int:
        """See Clock."""
        return self._rng.getrandbits(64)

    def advance_to(self, floor_ms: int) -> None:
        """See Clock."""
        self._offset_ms += max(0, floor_ms - self.now_ms())


class ServerHost:
    """One life of the server."""

    def __init__(
        self,
        number: int,
        network: Network,
        disk: Disk,
        clock: SimulatedClock,
        limits: Limits,
        bounds: RuntimeBounds,
        watch: Callable[[str, bytes], None],
    ) -> None:
        self.host = Host(f"server-{number}")
        self.orchestrator: Orchestrator | None = None
        self.is_serving = False
        self.is_stopping = False
        self._network = network
        self._disk = disk
        self._clock = clock
        self._limits = limits
        self._bounds = bounds
        self._watch = watch
        self._door = Door()
        self._handlers: dict[str, Any] = {}
        self._running = 0

    async def serve(self) -> None:
        """Start, and listen once recovered. Starts anew while the store cannot be read."""
        while self.orchestrator is None:
            orchestrator = Orchestrator(
                self._disk.attached(self.host), self._clock, self._limits, self._bounds
            )
            try:
                await orchestrator.start()
            except StoreError:
                await asyncio.sleep(0.5)  # Its supervisor starts the process again.
                continue
            self.orchestrator = orchestrator
        for service in (
            TaskService(self.orchestrator),
            AgentService(self.orchestrator, "simulated"),
            CollaborationService(self.orchestrator),
        ):
            for method in SERVICES[service.descriptor.name].methods:
                self._handlers[f"{service.descriptor.full_name}/{method.name}"] = rpc_handler(
                    Method(self._door, service, method)
                )
        self._network.server = self.host
        self._network.listener = self._accept
        self.is_serving = True

    async def stop(self) -> None:
        """Leave in good order, as SIGTERM does."""
        self.is_serving = False
        self.is_stopping = True
        if self.orchestrator is None:
            return
        self._door.draining = True
        await self.orchestrator.drain()
        await asyncio.sleep(2.0)
        self._network.listener = None
        await self.orchestrator.stop()
        self._door.close()
        while self._running:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.05)

    def _accept(self, wire: Wire, request: bytes | None) -> None:
        wire.handler = self._network.loop.start(self.host, self._handle(wire, request))

    async def _handle(self, wire: Wire, request: bytes | None) -> None:
        handler = self._handlers[wire.method]
        context = ServerContext(wire, self._watch)
        self._running += 1
        try:
            if handler.unary_unary is not None:
                await context.answer(await handler.unary_unary(request, context))
            elif handler.unary_stream is not None:
                await handler.unary_stream(request, context)
            else:
                await handler.stream_stream(None, context)
            wire.finish(OK)
        except grpc.aio.AbortError:
            pass
        finally:
            self._running -= 1
