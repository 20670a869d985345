"""A choice of agents that hedges whatever it may, for runs are too short to learn who is late."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from upbeat_server.engine import engine as engine_module
from upbeat_server.engine.choice_predictive import Predictive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.mix import Mix
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.task import Task

LATE_MS = 50

engines: Any = engine_module  # Whose choice is replaced.


class Eager(Predictive):
    """Predictive, but for hedges."""

    def overrun_ms(self, task: Task, agent: Agent) -> int:
        """At once."""
        return LATE_MS

    def is_late(self, task: Task, agent: Agent, ran_ms: int) -> bool:
        """Always."""
        return True

    def second(self, task: Task, candidates: list[Agent], ran_ms: int, now_ms: int) -> Agent | None:
        """Any other."""
        return next((agent for agent in candidates if agent is not task.agent), None)


@contextmanager
def hedging_of(mix: Mix) -> Iterator[None]:
    """The engines of a run hedge as it says."""
    real = engines.choice_of
    if mix.is_hedged:
        engines.choice_of = lambda rules, _name, fleet, predictor, _entropy: Eager(fleet, predictor, rules)
    try:
        yield
    finally:
        engines.choice_of = real
