"""One number of many: the weighted median, mean and trimmed mean of votes."""

from __future__ import annotations

from itertools import accumulate
from math import fsum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat_server.engine.collaboration.tally import Cast
    from upbeat_server.engine.collaboration.votes import Number

MEDIAN, MEAN, TRIMMED_MEAN = 1, 2, 3
TRIMMED_SHARE = 5
"""One of so many ballots is left out at each end, rounded down."""


def aggregate(kind: int, casts: list[Cast]) -> Number | None:
    """The number of at least one ballot; None if they weigh nothing together."""
    # By value, then by ordinal: who is trimmed among equals must not depend on who came first.
    ordered = sorted(casts, key=lambda cast: (cast.vote.number, cast.ordinal))
    return _KINDS[kind](ordered)


def _median(casts: list[Cast]) -> Number | None:
    """The number that half of the weight reaches; between two if the half ends at one of them."""
    weighing = [cast for cast in casts if cast.weight]
    sums = list(accumulate(cast.weight for cast in weighing))
    for at, reached in enumerate(sums):
        if 2 * reached == sums[-1]:
            return _mean(casts=weighing[at : at + 2], is_weighed=False)
        if 2 * reached > sums[-1]:
            return weighing[at].vote.number
    return None


def _mean(casts: list[Cast], *, is_weighed: bool = True) -> Number | None:
    weights = [cast.weight if is_weighed else 1 for cast in casts]
    total = sum(weights)
    if not total:
        return None
    return fsum(weight * cast.vote.number for weight, cast in zip(weights, casts, strict=True)) / total


def _trimmed_mean(casts: list[Cast]) -> Number | None:
    cut = len(casts) // TRIMMED_SHARE
    return _mean(casts[cut : len(casts) - cut])


_Kind: TypeAlias = "Callable[[list[Cast]], Number | None]"
_KINDS: dict[int, _Kind] = {MEDIAN: _median, MEAN: _mean, TRIMMED_MEAN: _trimmed_mean}
