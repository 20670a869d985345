"""Which agent gets a task: one small interface, policies behind it.

A policy sees the free agents that satisfy the task's requirement and answers
one of them. It holds no state of its own but what it learned; it counts the
engine's own in-flight work and never trusts what a heartbeat says of load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.fleet import Fleet
    from upbeat_server.engine.predictor import Predictor
    from upbeat_server.engine.queue import Signature
    from upbeat_server.engine.task import Task

TINY_MS = 20.0
"""Tasks that take less of an agent's time are handed out in chunks: a frame costs 100 us at any size."""

TINY_UNDER_PRESSURE_MS = 1_000.0
"""The same while the server has more to do than it can: what it measures of a run is then mostly itself."""

PRESSURE_HIGH = 0.7
"""Share of its time that a server works, from which on it has more to do than it can."""

CHUNK_TASKS = 64


class Choice(Protocol):
    """Picks an agent for a task."""

    def begin_turn(self, pressure: float) -> None:
        """A turn of handing out begins; what was decided in the last one binds no longer.

        ``pressure`` is the share of its time that the server has worked lately, from 0 to 1.
        """

    def follow(self, task: Task) -> Agent | None:
        """The free agent that gets the task because it just got the one before; None: pick one."""

    def candidates(self, task: Task) -> list[Agent]:
        """Free agents that satisfy the task's requirement, a bounded number, for ``pick``."""

    def pick(self, task: Task, candidates: list[Agent], now_ms: int) -> Agent | None:
        """One of ``candidates``, which is not empty; None: the task had better wait for another agent."""

    def is_out(self, task_type: str, agent: Agent) -> bool:
        """Whether the agent gets nothing of a type but a probe now and then."""

    def overrun_ms(self, task: Task, agent: Agent) -> int:
        """After how long a second run is thought of, if the agent gets the task now; 0: never."""

    def is_late(self, task: Task, agent: Agent, ran_ms: int) -> bool:
        """Whether a second run is wanted beside the agent's, which has run so long."""

    def second(self, task: Task, candidates: list[Agent], ran_ms: int, now_ms: int) -> Agent | None:
        """One of ``candidates``, which is not empty, that should be done with it sooner."""

    def explain(self, task: Task, agent: Agent) -> str:
        """Why such an agent is picked, for a person."""


class Chunk:
    """Tasks with one requirement that one agent gets in one turn."""

    __slots__ = ("agent", "left")

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.left = CHUNK_TASKS - 1


class TinyTypes(dict[str, bool]):
    """Whether a type is tiny, found out once a turn: nothing is learned in the middle of one.

    What was found out is read without a call, for it is asked for with every task.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self._predictor = predictor
        self._below_ms = TINY_MS

    def __missing__(self, task_type: str) -> bool:
        self[task_type] = tiny = self.is_tiny(task_type)
        return tiny

    def begin_turn(self, pressure: float) -> None:
        """See Choice."""
        self.clear()
        self._below_ms = TINY_UNDER_PRESSURE_MS if pressure >= PRESSURE_HIGH else TINY_MS

    def is_tiny(self, task_type: str) -> bool:
        """By all that is known now."""
        return self._predictor.share_ms(task_type) < self._below_ms


class Policy:
    """What all policies share: tiny tasks of one turn fill one agent before the next, up to a chunk.

    A frame for each of them costs more than the balance is worth. Tiny is what takes little of an
    agent's time: a run counts divided by what ran beside it, else a full fleet would make
    every run look long, tasks would be spread, frames would shrink, and so it would stay.

    A server that works all the time measures itself: what waits in it makes every run look long,
    too. Then short is tiny, for what is short of time is the server and not an agent.
    """

    def __init__(self, fleet: Fleet, predictor: Predictor) -> None:
        self._fleet = fleet
        self._predictor = predictor
        self._chunks: dict[Signature, Chunk] = {}
        self._tiny = TinyTypes(predictor)

    def begin_turn(self, pressure: float) -> None:
        """See Choice."""
        self._chunks.clear()
        self._tiny.begin_turn(pressure)

    def follow(self, task: Task) -> Agent | None:
        """See Choice."""
        chunk = self._chunks.get(task.signature) if self._chunks else None
        if chunk is None or not chunk.left or task.record.attempt or task.panel:
            return None
        agent = chunk.agent
        if not agent.available or agent.profile not in task.signature.profiles:
            return None
        chunk.left -= 1
        return agent

    def candidates(self, task: Task) -> list[Agent]:
        """See Choice."""
        return self._fleet.sample(task.signature)

    def pick(self, task: Task, candidates: list[Agent], now_ms: int) -> Agent | None:  # noqa: ARG002 - others hold a task.
        """See Choice."""
        agent = candidates[0] if len(candidates) == 1 else self._one_of(task, candidates)
        task.chosen = None
        if self._tiny[task.spec.type]:
            self._begin_chunk(task, agent)
        return agent

    def _begin_chunk(self, task: Task, agent: Agent) -> None:
        """What comes next of the requirement follows the task, unless it needed a choice of its own."""
        if not task.record.attempt and not task.panel:
            self._chunks[task.signature] = Chunk(agent)

    def _one_of(self, task: Task, candidates: list[Agent]) -> Agent:
        """What sets a policy apart."""
        raise NotImplementedError

    def is_out(self, task_type: str, agent: Agent) -> bool:  # noqa: ARG002 - others learn who fails.
        """See Choice."""
        return False

    def overrun_ms(self, task: Task, agent: Agent) -> int:  # noqa: ARG002 - others know what to expect.
        """See Choice."""
        return 0

    def is_late(self, task: Task, agent: Agent, ran_ms: int) -> bool:  # noqa: ARG002 - the same.
        """See Choice."""
        return False

    def second(self, task: Task, candidates: list[Agent], ran_ms: int, now_ms: int) -> Agent | None:  # noqa: ARG002
        """See Choice."""
        return None

    def explain(self, task: Task, agent: Agent) -> str:
        """See Choice."""
        words = self._words(agent)
        if self._tiny.is_tiny(task.spec.type):
            return f"{words}; {task.spec.type} is tiny, so chunks go to one agent"
        return words

    def _words(self, agent: Agent) -> str:
        raise NotImplementedError


class LeastLoaded(Policy):
    """The agent with the smallest share of its slots taken; the longest known one on a tie."""

    def candidates(self, task: Task) -> list[Agent]:
        """See Choice."""
        return self._fleet.candidates(task.signature)

    def _one_of(self, task: Task, candidates: list[Agent]) -> Agent:  # noqa: ARG002 - it looks at agents only.
        return min(candidates, key=load_of)

    def _words(self, agent: Agent) -> str:
        return f"least loaded of the free agents that can do it ({agent.in_use} of {agent.slots} slots taken)"


def load_of(agent: Agent) -> tuple[float, int]:
    """Share of its slots that is taken; ties by who came first."""
    return len(agent.leases) / agent.slots, agent.index
