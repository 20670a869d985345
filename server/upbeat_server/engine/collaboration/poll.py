"""One round of a vote: who was asked, what came in, and how that is told."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.failures import clipped
from upbeat_server.engine.collaboration.tally import (
    PLURALITY,
    SUPERMAJORITY,
    UNANIMOUS,
    Cast,
    count,
    margin,
    tallies,
)
from upbeat_server.engine.collaboration.votes import Abstention, Vote
from upbeat_server.engine.collaboration.weights import UNIT
from upbeat_server.engine.model import NO_PAYLOAD, CollaborationResult

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Child
    from upbeat_server.engine.collaboration.tally import Value
    from upbeat_server.engine.collaboration.votes import Ballot
    from upbeat_server.engine.model import Consensus, TaskSpec

_by_ordinal = attrgetter("ordinal")

NAME = "consensus"
TROUBLES_MAX = 10
"""Ballots that are not valid whose reasons an error tells."""
VALUES_TOLD_MAX = 10

_RULES = {
    PLURALITY: "more weight than any other value",
    UNANIMOUS: "all of the weight cast",
}


class Poll:
    """A round; ``voter`` is what all who are asked in it are given."""

    def __init__(self, mode: Consensus, number: int, voter: TaskSpec) -> None:
        self.number = number
        self.voter = voter
        self.casts: list[Cast] = []
        self.outstanding: dict[str, int] = {}  # Ordinals by key.
        self._mode = mode
        self._asked = 0
        self._abstained = 0
        self._troubles: list[str] = []
        self._highest = -1  # Ordinal of a valid ballot.

    def ask(self) -> str:
        """The key of one more ballot."""
        key = f"round/{self.number}/voter/{self._asked}"
        self.outstanding[key] = self._asked
        self._asked += 1
        return key

    def enter(self, child: Child, ballot: Ballot, weight: int) -> None:
        """A ballot that was outstanding came in, whatever it is."""
        ordinal = self.outstanding.pop(child.key)
        if isinstance(ballot, Vote):
            output = child.output or NO_PAYLOAD
            self.casts.append(Cast(ordinal, child.task_id, child.agent_id, weight, ballot, output))
            self._highest = max(self._highest, ordinal)
        elif isinstance(ballot, Abstention):
            self._abstained += 1
        else:
            self._troubles.append(f"{child.key} {ballot.why}")

    @property
    def has_quorum(self) -> bool:
        """Whether enough valid ballots are in."""
        return len(self.casts) >= max(self._mode.quorum, 1)

    @property
    def is_settled(self) -> bool:
        """Whether no ballot that may come can move those that are in to another value.

        Numbers belong to the first of their kind, by ordinal: one with a lower
        ordinal may be near enough to take them over.
        """
        if not self._mode.tolerance:
            return True
        return all(own > self._highest for own in self.outstanding.values())

    @property
    def lowest_ordinal(self) -> int:
        """The lowest that a ballot can have that comes, or is asked for next."""
        return min(self.outstanding.values(), default=self._asked)

    def values(self) -> list[Value]:
        """The count so far."""
        return count(self.casts, self._mode)

    def result(self, values: list[Value], winner: Value | None, *, is_early: bool) -> CollaborationResult:
        """The round as it is told when it is the last."""
        agreeing = {cast.ordinal for cast in (self.casts if winner is None else winner.casts)}
        dissent = [cast for cast in self.casts if cast.ordinal not in agreeing]
        return CollaborationResult(
            mode=NAME,
            winner_id=0 if winner is None else winner.casts[0].task_id,
            tally=tallies(values),
            margin=0.0 if winner is None else margin(values, winner),
            winning_value=b"" if winner is None else winner.told,
            dissent_ids=tuple(cast.task_id for cast in sorted(dissent, key=_by_ordinal)) if dissent else (),
            missing=self._asked - len(self.casts),
            abstained=self._abstained,
            decided_early=is_early,
            rounds=self.number + 1,
        )

    def lack(self, left: int) -> str:
        """What keeps the round from deciding, in words, with ``left`` ballots that may come."""
        if len(self.casts) + left < self._mode.quorum:
            return f"{len(self.casts)} of the {self._mode.quorum} valid ballots came in that are needed"
        if self._mode.aggregate:
            return "the ballots weigh nothing together"
        return f"no value {'can have' if left else 'has'} {self._needed()}"

    def details(self, values: list[Value]) -> dict[str, str]:
        """The tally in words, and why ballots are missing from it."""
        counted = [f"{clipped(value.told.decode())}: {_ballots(value)}" for value in values]
        told = counted[:VALUES_TOLD_MAX]
        if len(values) > VALUES_TOLD_MAX:
            told.append(f"and {len(values) - VALUES_TOLD_MAX} other values")
        words = {
            "tally": "; ".join(told),
            "valid": str(len(self.casts)),
            "quorum": str(self._mode.quorum),
            "abstained": str(self._abstained),
        }
        if self._troubles:
            # Sorted: which of them are told must not depend on who was first.
            told = [clipped(trouble) for trouble in sorted(self._troubles)[:TROUBLES_MAX]]
            words["missing"] = "; ".join(told)
        return words

    def _needed(self) -> str:
        if self._mode.rule == SUPERMAJORITY:
            return f"a share of {self._mode.supermajority:g} of the weight cast"
        return _RULES.get(self._mode.rule, "more than half of the weight cast")


def _ballots(value: Value) -> str:
    ballots = len(value.casts)
    return f"{ballots} ballot{'s' if ballots != 1 else ''} of weight {value.weight / UNIT:g}"
