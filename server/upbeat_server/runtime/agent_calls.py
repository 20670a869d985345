"""What the door may ask about agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.events import AgentDrainWanted
from upbeat_server.runtime.calls import DrainCall
from upbeat_server.runtime.desk import Desk
from upbeat_server.runtime.refused import Refused, refused
from upbeat_server.runtime.sessions import AgentSession
from upbeat_server.runtime.snapshot import AgentSnapshot

if TYPE_CHECKING:
    from upbeat_server.runtime.watchers import AgentWatch


class AgentCalls(Desk):
    """Connect, look, drain, watch."""

    async def open_agent_session(self, name: str) -> AgentSession:
        """A stream of an agent; ``leave`` it in the end."""
        self.admit_work()
        namespace = await self._catalog.open(name)
        return AgentSession(namespace, self._inbox, self.bounds, next(self._origins))

    def agents(self, name: str) -> list[AgentSnapshot]:
        """The agents of a namespace, by id."""
        namespace = self._catalog.known(name)
        if namespace is None:
            return []
        agents, predictor = namespace.engine.fleet.agents, namespace.engine.predictor
        return [AgentSnapshot.of(agents[agent_id], predictor) for agent_id in sorted(agents)]

    def agent(self, name: str, agent_id: str) -> AgentSnapshot:
        """One agent."""
        namespace = self._catalog.known(name)
        agent = None if namespace is None else namespace.engine.fleet.agents.get(agent_id)
        if namespace is None or agent is None:
            raise _agent_not_found(agent_id)
        return AgentSnapshot.of(agent, namespace.engine.predictor)

    async def drain_agent(self, name: str, agent_id: str) -> AgentSnapshot:
        """Give an agent nothing new."""
        namespace = self._catalog.known(name)
        if namespace is None:
            raise _agent_not_found(agent_id)
        origin = next(self._origins)
        event = AgentDrainWanted(origin, agent_id)
        return await self._ask(namespace, DrainCall(namespace), origin, event)

    async def watch_agents(self, name: str) -> tuple[list[AgentSnapshot], AgentWatch]:
        """The agents as they are, and a watch of what changes from now. Close it in the end."""
        namespace = await self._catalog.open(name)
        self._admit_watch()
        return self.agents(name), namespace.agent_watches.open()


def _agent_not_found(agent_id: str) -> Refused:
    return refused(
        reasons.AGENT_NOT_FOUND,
        "there is no such agent in this namespace, or it left long ago",
        agent_id=agent_id,
    )
