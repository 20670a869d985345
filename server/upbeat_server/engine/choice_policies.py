"""The policies that do not predict, and all of them by name."""

from __future__ import annotations

from math import log, sqrt
from typing import TYPE_CHECKING

from upbeat_server.engine.choice import LeastLoaded, Policy, load_of
from upbeat_server.engine.choice_predictive import Predictive
from upbeat_server.engine.effects import PRIOR_RUNS

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.choice import Choice
    from upbeat_server.engine.entropy import Entropy
    from upbeat_server.engine.fleet import Fleet
    from upbeat_server.engine.limits import ChoiceRules
    from upbeat_server.engine.predictor import Predictor
    from upbeat_server.engine.task import Task

SPREAD_UNKNOWN = 1.0
"""Deviation of the logarithm of runs of a type that nothing is known of."""

FAILING_MOST = 0.999


class RoundRobin(Policy):
    """One agent after the other, in the order in which they came."""

    def __init__(self, fleet: Fleet, predictor: Predictor) -> None:
        super().__init__(fleet, predictor)
        self._last_index = 0

    def _one_of(self, task: Task, candidates: list[Agent]) -> Agent:  # noqa: ARG002 - it looks at agents only.
        last = self._last_index
        agent = min(candidates, key=lambda agent: (agent.index <= last, agent.index))
        self._last_index = agent.index
        return agent

    def _words(self, agent: Agent) -> str:
        return f"its turn had come: agent {agent.index} in the order in which they connected"


class Random(Policy):
    """Any free agent."""

    def __init__(self, fleet: Fleet, predictor: Predictor, entropy: Entropy) -> None:
        super().__init__(fleet, predictor)
        self._entropy = entropy

    def _one_of(self, task: Task, candidates: list[Agent]) -> Agent:  # noqa: ARG002 - it looks at agents only.
        return candidates[int(self._entropy.uniform() * len(candidates))]

    def _words(self, agent: Agent) -> str:  # noqa: ARG002 - chance has no reasons.
        return "by chance, of the free agents that can do it"


class PowerOfTwo(Random):
    """The less loaded of two free agents that chance picked (Mitzenmacher, 1996)."""

    def _one_of(self, task: Task, candidates: list[Agent]) -> Agent:
        return min(super()._one_of(task, candidates), super()._one_of(task, candidates), key=load_of)

    def _words(self, agent: Agent) -> str:
        return f"less loaded than another that chance picked ({agent.in_use} of {agent.slots} slots taken)"


class Thompson(Random):
    """The fastest of one draw from what is believed of each: the less is known, the wider the draw.

    Hierarchical like what is learned: the doubt about an agent and the one about the agent on the type
    add up. Normal draws are sums of twelve uniform ones.
    """

    def _one_of(self, task: Task, candidates: list[Agent]) -> Agent:
        predictor, task_type = self._predictor, task.spec.type
        overall = predictor.types.get(task_type)
        spread = sqrt(overall.log_variance) if overall is not None and overall.runs > 1 else SPREAD_UNKNOWN

        def draw(agent: Agent) -> tuple[float, int]:
            of_agent = predictor.agents.get(agent.agent_id)
            cell = predictor.cells.get((task_type, agent.agent_id))
            value, doubt = 0.0, 0.0
            if of_agent is not None:
                value, doubt = of_agent.value, 1 / (of_agent.runs + PRIOR_RUNS)
            if cell is not None:
                value += cell.effect.value - log(1 - min(cell.failing, FAILING_MOST))
                doubt += 1 / (cell.effect.runs + PRIOR_RUNS)
            else:
                doubt += 1 / PRIOR_RUNS
            return value + self._normal() * spread * sqrt(doubt), agent.index

        return min(candidates, key=draw)

    def _normal(self) -> float:
        return sum(self._entropy.uniform() for _ in range(12)) - 6

    def _words(self, agent: Agent) -> str:  # noqa: ARG002 - a draw leaves nothing to show.
        return "fastest in a draw from what is known of the free agents"


class Pack(Policy):
    """The fullest agent that has room, so that others stay idle and can be taken away."""

    def _one_of(self, task: Task, candidates: list[Agent]) -> Agent:  # noqa: ARG002 - it looks at agents only.
        return min(candidates, key=lambda agent: (-len(agent.leases) / agent.slots, agent.index))

    def _words(self, agent: Agent) -> str:
        return f"fullest of the free agents that can do it ({agent.in_use} of {agent.slots} slots taken)"


POLICIES = ("predictive", "least_loaded", "round_robin", "random", "power_of_two", "thompson", "pack")


def choice_of(
    rules: ChoiceRules, namespace: str, fleet: Fleet, predictor: Predictor, entropy: Entropy
) -> Choice:
    """The policy of a namespace. Raises ValueError for a name that is none."""
    name = rules.policies.get(namespace, rules.policy)
    match name:
        case "predictive":
            return Predictive(fleet, predictor, rules)
        case "least_loaded":
            return LeastLoaded(fleet, predictor)
        case "round_robin":
            return RoundRobin(fleet, predictor)
        case "random":
            return Random(fleet, predictor, entropy)
        case "power_of_two":
            return PowerOfTwo(fleet, predictor, entropy)
        case "thompson":
            return Thompson(fleet, predictor, entropy)
        case "pack":
            return Pack(fleet, predictor)
        case _:
            raise ValueError(f"{name!r} is no policy: choose one of {', '.join(POLICIES)}")
