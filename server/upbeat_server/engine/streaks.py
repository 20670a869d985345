"""Agents that fail whatever they get: what they failed in a row, over all types.

What fails is counted by type and agent, for an agent may fail at one type and be good at the next. One that
broke altogether would have to be found out by each of its types. So failures in a row are summed up, each
by how much it came as a surprise (``1 - failing`` of its type): a type that fails everywhere makes nobody
suspect.
An attempt that completes ends the streak, if it began after it; an older one says nothing of the agent as it
is now.
"""

from __future__ import annotations

STREAK_OUT = 8.0
"""Surprising failures in a row after which an agent is taken to fail at everything.

Of one that fails 30 % of its attempts one series of 8 in 15,000 is such; its next success ends it.
"""

STREAKS_MAX = 100_000


class Streak:
    """Failures of one agent in a row."""

    __slots__ = ("since_ms", "surprise")

    def __init__(self, since_ms: int, surprise: float = 0.0) -> None:
        self.since_ms = since_ms
        self.surprise = surprise


class Streaks:
    """Those of all agents whose last attempt failed, by agent id; the oldest gives way."""

    __slots__ = ("by_agent",)

    def __init__(self) -> None:
        self.by_agent: dict[str, Streak] = {}

    def failed(self, agent_id: str, surprise: float, now_ms: int) -> None:
        """An attempt failed that came as a surprise so much, from 0 to 1."""
        streak = self.by_agent.get(agent_id)
        if streak is None:
            if len(self.by_agent) >= STREAKS_MAX:
                del self.by_agent[next(iter(self.by_agent))]
            streak = self.by_agent[agent_id] = Streak(now_ms)
        streak.surprise += surprise

    def completed(self, agent_id: str, began_ms: int) -> None:
        """An attempt completed that began then."""
        streak = self.by_agent.get(agent_id)
        if streak is not None and began_ms > streak.since_ms:
            del self.by_agent[agent_id]

    def is_out(self, agent_id: str) -> bool:
        """Whether the agent is taken to fail at everything."""
        streak = self.by_agent.get(agent_id)
        return streak is not None and streak.surprise >= STREAK_OUT
