"""The public face of the runtime: what the door may ask of it.

Everything is namespace first. What changes something goes through the inbox and is
answered after its commit; what only reads is answered from memory where that is
durable and from the store where it is not. Refusals are raised as ``Refused``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.engine import census as engine_census
from upbeat_server.engine import reasons
from upbeat_server.runtime.agent_calls import AgentCalls
from upbeat_server.runtime.bus_calls import BusCalls
from upbeat_server.runtime.collaboration_calls import CollaborationCalls
from upbeat_server.runtime.demand_calls import DemandCalls
from upbeat_server.runtime.recovery import quiet_collector
from upbeat_server.runtime.refused import SERVER_DRAINING

if TYPE_CHECKING:
    from upbeat_server.engine.census import Census

DRAIN_PORTION = 200
DRAIN_PAUSE_S = 0.05


class Orchestrator(CollaborationCalls, AgentCalls, BusCalls, DemandCalls):
    """All namespaces of a server, and the loop that runs them. Made on the event loop it runs on."""

    _running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the store, adopt every namespace it has, and run. Raises StoreError."""
        await self._store.open()
        with quiet_collector():
            for name in await self._store.namespaces():
                await self._catalog.adopt(name)
        self._running = asyncio.create_task(self._loop.run(), name="upbeat-loop")

    async def drain(self) -> None:
        """Refuse new work and tell agents, in portions, to go elsewhere. Idempotent."""
        if self.is_draining:
            return
        self.is_draining = True
        sessions = [s for namespace in self._catalog.all() for s in namespace.sessions.values()]
        for first in range(0, len(sessions), DRAIN_PORTION):
            for session in sessions[first : first + DRAIN_PORTION]:
                session.outbox.drain(reasons.DRAINING)
            await asyncio.sleep(DRAIN_PAUSE_S)

    async def stop(self) -> None:
        """Finish the turn that is being made, end all streams and calls, close the store. Idempotent."""
        await self.drain()
        self._catalog.is_closed = True
        running, self._running = self._running, None
        if running is not None:
            self._loop.stop()
            await running
        await self._errands.stop()
        for namespace in self._catalog.all():
            namespace.end(SERVER_DRAINING)
        await self._store.close()

    @property
    def store_is_healthy(self) -> bool:
        """Whether commits succeed: part of readiness."""
        return self._loop.store_is_healthy

    @property
    def names(self) -> list[str]:
        """The open namespaces."""
        return sorted(namespace.name for namespace in self._catalog.all())

    @property
    def inbox_items(self) -> int:
        """How much waits for the loop."""
        return self._inbox.items

    @property
    def open_streams(self) -> dict[str, int]:
        """Open streams by kind."""
        namespaces = self._catalog.all()
        return {
            "agent": sum(len(namespace.sessions) for namespace in namespaces),
            "submissions": self._submission_streams,
            "subscriptions": self._subscription_streams,
            "watch": sum(namespace.watches for namespace in namespaces),
        }

    def now_ms(self) -> int:
        """Engine time."""
        return self._clock.now_ms()

    def wake(self) -> None:
        """Look at the clock again; only a clock that is driven by hand needs it."""
        self._loop.wake()

    def census(self, name: str) -> Census | None:
        """Counts of a namespace; None for one that is not open."""
        namespace = self._catalog.known(name)
        return None if namespace is None else engine_census.census(namespace.engine, namespace.now_ms())
