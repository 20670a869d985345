"""The count of a vote: values, rules, and whether the outcome is fixed.

A count depends on the set of ballots and never on the order in which they came:
values of numbers are formed, and ties are broken, by ordinal.

Ties, and the order of a tally: the most weight first; among equals the one with
the heaviest single ballot, then the one that the lowest ordinal voted for.
"""

from __future__ import annotations

from math import floor
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from upbeat_server.engine.collaboration.documents import encoded
from upbeat_server.engine.collaboration.votes import NUMBER, Vote
from upbeat_server.engine.collaboration.weights import UNIT
from upbeat_server.engine.model import Consensus, Payload, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

MAJORITY, PLURALITY, SUPERMAJORITY, UNANIMOUS = 1, 2, 3, 4
SHARE_UNIT = 1_000_000_000

VALUE_BYTES_MAX = 16 << 10
"""A value that is told in full: a vote may be a whole output, and the winner's is the output anyway."""


Place: TypeAlias = tuple[int, int, int]
"""Of a value: its weight and that of its heaviest ballot, both negative, and its lowest ordinal."""


class Cast(msgspec.Struct, frozen=True):
    """A valid ballot as it was counted."""

    ordinal: int
    task_id: int
    agent_id: str
    weight: int  # In millionths.
    vote: Vote
    output: Payload


class Value(msgspec.Struct):
    """What was voted for, by whom. ``casts`` are by ordinal and not empty."""

    vote: Vote  # Of its first ballot, which stands for all.
    casts: list[Cast]
    weight: int
    heaviest: int  # Weight of a single ballot.

    @property
    def place(self) -> Place:
        """Sorts values into their order."""
        return -self.weight, -self.heaviest, self.casts[0].ordinal

    @property
    def told(self) -> bytes:
        """The value as JSON; of a long one its beginning, as a string."""
        text = self.vote.value
        if len(text) <= VALUE_BYTES_MAX:
            return text
        return encoded(text[:VALUE_BYTES_MAX].decode(errors="ignore") + "...")


_by_ordinal = attrgetter("ordinal")
_by_place = attrgetter("place")


def count(casts: Iterable[Cast], mode: Consensus) -> list[Value]:
    """The values that were voted for, the heaviest first."""
    values: list[Value] = []
    for cast in sorted(casts, key=_by_ordinal):
        value = find(values, cast.vote, mode)
        if value is None:
            values.append(Value(cast.vote, [cast], cast.weight, cast.weight))
            continue
        value.casts.append(cast)
        value.weight += cast.weight
        value.heaviest = max(value.heaviest, cast.weight)
    if len(values) > 1:
        values.sort(key=_by_place)
    return values


def find(values: Iterable[Value], vote: Vote, mode: Consensus) -> Value | None:
    """The value that a vote belongs to; a number to the first, by ordinal, that is near enough."""
    if mode.normalize != NUMBER and not mode.aggregate:
        for value in values:
            if value.vote.key == vote.key:
                return value
        return None
    near = [value for value in values if abs(value.vote.number - vote.number) <= mode.tolerance]
    return min(near, key=lambda value: value.casts[0].ordinal, default=None)


class Rule:
    """When a value wins. The further ballots that are reckoned with weigh ``coming`` at most."""

    def __init__(self, mode: Consensus) -> None:
        self._rule = mode.rule
        # Down to whole billionths, so that 2/3 as a float is met by two ballots of three.
        self._share = floor(mode.supermajority * SHARE_UNIT + 1e-3)

    def is_won(self, values: list[Value], coming: int) -> bool:
        """Whether the first value, of at least one, wins whatever comes."""
        weight = values[0].weight
        return weight > 0 and self._meets(weight, _rival(values), _total(values), coming)

    def is_leading(self, values: list[Value], coming: int, ballot: Place | None) -> bool:
        """Whether the first value, of at least one, stays the first whatever comes, ties included.

        ``ballot`` is the best place that a further ballot gives a value besides the weight of all that
        come; None if none comes.
        """
        leader, *others = (value.place for value in values)
        if ballot is None:
            return True
        _, heaviest, ordinal = ballot
        others.append(ballot)  # What nobody has voted for so far.
        # All that comes cannot do more for a value than the best of each ballot.
        best = (
            (weight - coming, min(single, heaviest), min(first, ordinal)) for weight, single, first in others
        )
        return all(leader < place for place in best)

    def is_lost(self, values: list[Value], coming: int) -> bool:
        """Whether no value can win whatever comes."""
        # The best case is that all of it goes to the first: every rule rewards that most.
        best = (values[0].weight if values else 0) + coming
        return not best or not self._meets(best, _rival(values), _total(values) + coming, 0)

    def _meets(self, weight: int, rival: int, total: int, coming: int) -> bool:
        """Whether ``weight`` wins over all else when what comes goes to its rivals."""
        if self._rule == PLURALITY:
            return weight > rival + coming
        if self._rule == SUPERMAJORITY:
            return weight * SHARE_UNIT >= self._share * (total + coming)
        if self._rule == UNANIMOUS:
            return weight == total + coming
        return 2 * weight > total + coming


def tallies(values: list[Value]) -> tuple[Tally, ...]:
    """A count as it is told."""
    return tuple(Tally(value.told, len(value.casts), value.weight / UNIT) for value in values)


def margin(values: list[Value], winner: Value) -> float:
    """Weight of the winner less that of the heaviest other; below 0 where a judge chose a lighter one."""
    others = [value.weight for value in values if value is not winner]
    return (winner.weight - max(others, default=0)) / UNIT


def _rival(values: list[Value]) -> int:
    return values[1].weight if len(values) > 1 else 0


def _total(values: list[Value]) -> int:
    total = 0
    for value in values:
        total += value.weight
    return total
