"""Watches of agents: all that change, the last word of each.

Changes of one agent replace each other while they wait, so what waits for a watch is
bounded by the number of agents and a slow reader loses nothing that still holds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.snapshot import AgentSnapshot

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.model import Refusal
    from upbeat_server.engine.predictor import Predictor


class AgentWatch:
    """One watch of agents; what waits is the last word of each agent."""

    def __init__(self, watches: AgentWatches) -> None:
        self._watches = watches
        self._waiting: dict[str, AgentSnapshot] = {}
        self._signal = asyncio.Event()
        self._refusal: Refusal | None = None

    def offer(self, agent: AgentSnapshot) -> None:
        """Take an agent as it is now."""
        self._waiting.pop(agent.agent_id, None)
        self._waiting[agent.agent_id] = agent
        self._signal.set()

    def fail(self, refusal: Refusal) -> None:
        """End the watch."""
        self._refusal = refusal
        self._signal.set()

    def close(self) -> None:
        """The reader is gone."""
        self._watches.forget(self)

    async def take(self, items_max: int) -> list[AgentSnapshot]:
        """The next agents, at least one. Raises Refused when the watch was ended."""
        while not self._waiting and self._refusal is None:
            self._signal.clear()
            await self._signal.wait()
        if self._refusal is not None:
            raise Refused(self._refusal)
        agent_ids = [agent_id for agent_id, _ in zip(self._waiting, range(items_max), strict=False)]
        return [self._waiting.pop(agent_id) for agent_id in agent_ids]


class AgentWatches:
    """All watches of a namespace's agents."""

    def __init__(self) -> None:
        self._open: list[AgentWatch] = []

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(self) -> AgentWatch:
        """A new watch."""
        watch = AgentWatch(self)
        self._open.append(watch)
        return watch

    def forget(self, watch: AgentWatch) -> None:
        """The watch is closed. Idempotent."""
        if watch in self._open:
            self._open.remove(watch)

    def publish(self, agent: Agent, predictor: Predictor) -> None:
        """An agent changed."""
        if self._open:
            snapshot = AgentSnapshot.of(agent, predictor)
            for watch in self._open:
                watch.offer(snapshot)

    def end(self, refusal: Refusal) -> None:
        """End all watches."""
        for watch in self._open:
            watch.fail(refusal)
        self._open.clear()
