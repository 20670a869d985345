"""What a mode may ask of the engine when it begins or is woken."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from upbeat_server.engine.model import AgentState
from upbeat_server.engine.queue import Signature, requirement_of

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.model import TaskSpec

LABEL_WEIGHT_MAX = 1_000.0
LABELLED_MAX = 1_000
"""Agents whose label is looked at; the others weigh 1."""

HEDGES_SHARE = 0.1
HEDGES_BURST = 100
"""Hedges are at most this share of dispatches, after so many that are free."""


class LearnedFacts:
    """Facts of one engine for one group; see ``mode.Facts``."""

    def __init__(self, engine: Engine, group: Group) -> None:
        self._engine = engine
        self._group = group

    def weights(self, task_type: str, choices: int) -> tuple[dict[str, float], float]:
        """Learned weights; of the agents that offer the type, if there are too many to freeze all."""
        return self._engine.grades.weights(task_type, choices)

    def label_weights(self, spec: TaskSpec, label: str) -> tuple[dict[str, float], float]:
        """Weights that agents say of themselves in a label."""
        predicate = self._group.predicates.get(spec.selector) if spec.selector else None
        signature = Signature(requirement_of(spec), predicate)
        weights: dict[str, float] = {}
        for agent in self._engine.fleet.capable(signature, LABELLED_MAX):
            weight = _number(agent.labels.get(label, ""))
            if weight is not None and agent.state is not AgentState.DISCONNECTED:
                weights[agent.agent_id] = weight
        return weights, 1.0

    def duration_ms(self, task_type: str, quantile: float) -> float | None:
        """Quantile of what runs of the type took; None before 20 of them."""
        return self._engine.predictor.quantile_ms(task_type, quantile)

    def may_hedge(self) -> bool:
        """Whether one hedge more is within the share."""
        counters = self._engine.counters
        return counters.hedges < HEDGES_BURST + HEDGES_SHARE * counters.dispatched


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and 0 <= number <= LABEL_WEIGHT_MAX else None
