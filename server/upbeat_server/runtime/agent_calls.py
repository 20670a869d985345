"""What the door may ask about agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.events import AgentDrainWanted, PauseWanted
from upbeat_server.runtime.calls import DrainCall, PauseCall
from upbeat_server.runtime.desk import Desk
from upbeat_server.runtime.refused import Refused, refused
from upbeat_server.runtime.sessions import AgentSession
from upbeat_server.runtime.snapshot import AgentSnapshot

if TYPE_CHECKING:
    from collections.abc import Collection

    from upbeat_server.runtime.agent_watches import AgentWatch
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.telemetry.recorder import AgentAttempt


class AgentCalls(Desk):
    """Connect, look, drain, watch."""

    async def open_agent_session(self, name: str) -> AgentSession:
        """A stream of an agent; ``leave`` it in the end."""
        self.admit_work()
        namespace = await self._catalog.open(name)
        return AgentSession(namespace, self._inbox, self.bounds, next(self._origins))

    def agents(
        self,
        name: str,
        limit: int,
        after_id: str = "",
        states: Collection[int] = (),
        capability: str = "",
    ) -> list[AgentSnapshot]:
        """Up to ``limit`` agents of a namespace behind ``after_id``, by id; none of a filter: all."""
        namespace = self._catalog.known(name)
        if namespace is None:
            return []
        found: list[AgentSnapshot] = []
        for agent_id, agent in sorted(namespace.engine.fleet.agents.items()):
            if agent_id <= after_id or (states and agent.state not in states):
                continue
            if capability and capability not in agent.capabilities:
                continue
            if len(found) == limit:
                break
            found.append(AgentSnapshot.of(agent, namespace.engine.predictor))
        return found

    def agent(self, name: str, agent_id: str) -> AgentSnapshot:
        """One agent."""
        namespace = self._catalog.known(name)
        agent = None if namespace is None else namespace.engine.fleet.agents.get(agent_id)
        if namespace is None or agent is None:
            raise _agent_not_found(agent_id)
        return AgentSnapshot.of(agent, namespace.engine.predictor)

    def running_attempts(self, name: str, agent_id: str = "") -> list[AgentAttempt]:
        """Durable attempts that run, by agent and start; agent "" is all."""
        namespace = self._catalog.known(name)
        if namespace is None:
            return []
        agents = namespace.engine.fleet.agents
        found: list[AgentAttempt] = []
        for key in [agent_id] if agent_id in agents else [] if agent_id else sorted(agents):
            found += [
                (task.task_id, task.spec.type, task.record.attempts[-1])
                for task in agents[key].leases.values()
                if task is not None and task.record.attempts and task.task_id not in namespace.encoded
            ]
        return found

    async def drain_agent(self, name: str, agent_id: str) -> AgentSnapshot:
        """Give an agent nothing new."""
        self.admit_work()
        namespace = self._catalog.known(name)
        if namespace is None:
            raise _agent_not_found(agent_id)
        origin = next(self._origins)
        event = AgentDrainWanted(origin, agent_id)
        return await self._ask(namespace, DrainCall(namespace), origin, event)

    async def pause_type(self, name: str, task_type: str) -> tuple[str, ...]:
        """Hold back the tasks of a type durably; all types that are paused then, sorted."""
        self.admit_work()
        return await self._rule(await self._catalog.open(name), task_type, is_paused=True)

    async def resume_type(self, name: str, task_type: str) -> tuple[str, ...]:
        """Let the tasks of a type go again; all types that are paused still, sorted."""
        self.admit_work()
        namespace = self._catalog.known(name)
        return () if namespace is None else await self._rule(namespace, task_type, is_paused=False)

    async def _rule(self, namespace: Namespace, task_type: str, *, is_paused: bool) -> tuple[str, ...]:
        origin = next(self._origins)
        event = PauseWanted(origin, task_type, is_paused)
        return await self._ask(namespace, PauseCall(namespace), origin, event)

    async def watch_agents(self, name: str) -> AgentWatch:
        """A watch of what changes from now; who is there already is listed. Close it in the end."""
        namespace = await self._catalog.open(name)
        self._admit_watch()
        return namespace.agent_watches.open()


def _agent_not_found(agent_id: str) -> Refused:
    return refused(
        reasons.AGENT_NOT_FOUND,
        "there is no such agent in this namespace, or it left long ago",
        agent_id=agent_id,
    )
