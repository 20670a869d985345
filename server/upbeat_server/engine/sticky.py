"""Sticky routing: which agent was given the last task of a key, for what it still has warm.

A preference and nothing more: an agent that is full, gone, paused, out, or that failed the task, is passed
over, and whoever gets the task instead is preferred from then on. Kept in memory only, the keys that were
used last; a restarted server begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.fleet import Fleet
    from upbeat_server.engine.task import Task

STICKY_KEYS_MAX = 10_000
"""Keys remembered in a namespace; the one that was used longest ago gives way."""


class Sticky:
    """The last agent of each sticky key."""

    __slots__ = ("_agent_ids", "_fleet")

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._agent_ids: dict[str, str] = {}  # By key, the one that was used longest ago first.

    def __len__(self) -> int:
        return len(self._agent_ids)

    def agent_of(self, task: Task) -> Agent | None:
        """The agent that the task's key is with, if it is free and satisfies the task's requirement."""
        agent_id = self._agent_ids.get(task.spec.sticky_key)
        agent = None if agent_id is None else self._fleet.agents.get(agent_id)
        if agent is None or not agent.available or agent.profile not in task.signature.profiles:
            return None
        return agent

    def remember(self, key: str, agent: Agent) -> None:
        """The agent was given a task of the key."""
        agent_ids = self._agent_ids
        agent_ids.pop(key, None)
        agent_ids[key] = agent.agent_id
        if len(agent_ids) > STICKY_KEYS_MAX:
            del agent_ids[next(iter(agent_ids))]
