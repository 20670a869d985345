"""Which agent gets a task: one small interface, policies behind it.

A policy sees the free agents that satisfy the task's requirement and answers
one of them. It holds no state of its own but what it learned; it counts the
engine's own in-flight work and never trusts what a heartbeat says of load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.predictor import Predictor
    from upbeat_server.engine.task import Task

TINY_MS = 20.0
"""Tasks that take less of an agent's time are handed out in chunks: a frame costs 100 us at any size."""

CHUNK_TASKS = 64


class Choice(Protocol):
    """Picks an agent for a task."""

    def begin_turn(self) -> None:
        """A turn of handing out begins; what was decided in the last one binds no longer."""

    def pick(self, task: Task, candidates: list[Agent]) -> Agent:
        """One of ``candidates``, which is not empty."""

    def explain(self, task: Task, agent: Agent) -> str:
        """Why such an agent is picked, for a person."""


class LeastLoaded:
    """The agent with the smallest share of its slots taken; the longest known one on a tie.

    Tiny tasks of one turn fill one agent before the next, up to a chunk, because there a
    frame for each costs more than the balance is worth. Tiny is what takes little of an
    agent's time: a run counts divided by what ran beside it, else a full fleet would make
    every run look long, tasks would be spread, frames would shrink, and so it would stay.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._chunk: dict[str, tuple[Agent, int]] = {}

    def begin_turn(self) -> None:
        """See Choice."""
        self._chunk.clear()

    def pick(self, task: Task, candidates: list[Agent]) -> Agent:
        """See Choice."""
        task_type = task.spec.type
        agent = min(candidates, key=_load)
        if self._predictor.share_ms(task_type) >= TINY_MS or task.record.attempt or task.panel:
            return agent
        last, left = self._chunk.get(task_type, (agent, 0))
        if left > 0 and last.available and last.profile in task.signature.profiles:
            agent = last
        else:
            left = CHUNK_TASKS
        self._chunk[task_type] = (agent, left - 1)
        return agent

    def explain(self, task: Task, agent: Agent) -> str:
        """See Choice."""
        if self._predictor.share_ms(task.spec.type) < TINY_MS:
            return f"least loaded; {task.spec.type} is tiny, so chunks go to one agent"
        return f"least loaded of the free agents that can do it ({agent.in_use} of {agent.slots} slots taken)"


def _load(agent: Agent) -> tuple[float, int]:
    return agent.in_use / agent.slots, agent.index
