"""What ballots weigh, frozen when a vote begins.

Weights are whole millionths: sums of them are exact, so that no outcome depends
on the order in which ballots were added up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.collaboration.mode import Facts
    from upbeat_server.engine.collaboration.tally import Cast
    from upbeat_server.engine.model import Consensus

UNIT = 1_000_000
WEIGHT_MAX = 1_000.0
CHOICES_MIN = 2
"""A vote among fewer values is none; open votes count as one between two."""

EQUAL, STATIC = 1, 2


class Weights(msgspec.Struct, frozen=True):
    """By agent, and that of all who are not listed, in millionths. It is the memo of a vote."""

    other: int = UNIT
    by_agent: dict[str, int] = {}

    def of(self, agent_id: str) -> int:
        """The weight of an agent's ballot."""
        return self.by_agent.get(agent_id, self.other)


EQUAL_WEIGHTS = Weights()


class Outlook:
    """How much weight may still come in, at most."""

    def __init__(self, weights: Weights, *, distinct: bool) -> None:
        self._other = weights.other
        self._distinct = distinct
        # Those below the weight of agents that nobody has seen yet bound nothing.
        heavier = [
            (weight, agent_id) for agent_id, weight in weights.by_agent.items() if weight > weights.other
        ]
        self._heaviest_first = sorted(heavier, reverse=True)

    def weight_max(self, ballots: int, casts: Iterable[Cast]) -> int:
        """The most that so many further ballots weigh; agents that have voted vote once, if distinct."""
        if not self._heaviest_first:
            return ballots * self._other
        if not self._distinct:
            return ballots * self._heaviest_first[0][0]
        voted = {cast.agent_id for cast in casts}
        total, left = 0, ballots
        for weight, agent_id in self._heaviest_first:
            if not left:
                break
            if agent_id not in voted:
                total += weight
                left -= 1
        return total + left * self._other


def freeze(mode: Consensus, facts: Facts) -> Weights:
    """The weights as they are now; of a vote whose ballots do not weigh the same."""
    if mode.weights == STATIC:
        by_agent, other = facts.label_weights(mode.voter, mode.weight_label)
    else:
        by_agent, other = facts.weights(mode.voter.type, max(len(mode.choices), CHOICES_MIN))
    default = _millionths(other)
    exact = {agent_id: _millionths(weight) for agent_id, weight in by_agent.items()}
    return Weights(default, {agent_id: weight for agent_id, weight in exact.items() if weight != default})


def _millionths(weight: float) -> int:
    # Written so that NaN weighs nothing. An agent that is wrong more often than not does not vote backwards.
    return round(min(weight, WEIGHT_MAX) * UNIT) if weight > 0 else 0
