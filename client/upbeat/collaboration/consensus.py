"""Ballots of several agents, independent of each other, and what they came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Unpack, overload

from upbeat.collaboration.kind import Collaboration, implied
from upbeat.collaboration.steps import as_step, receiver
from upbeat.collaboration.terms import ConsensusOptions
from upbeat.skill import In, Out, as_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat.collaboration.steps import AnyStep
    from upbeat.collaboration.terms import Aggregate
    from upbeat.outcome import CollaborationResult, TallyEntry
    from upbeat.task import Task

_IMPLIED = {
    "rule": {"supermajority": "supermajority"},
    "normalize": {"tolerance": "number"},
    "weights": {"weight_label": "static"},
    "on_no_consensus": {"judge": "judge"},
}


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Out]):
    """What a vote came to.

    `value` is the value that won, `output` the whole output of the first ballot
    that voted for it (or the aggregate). `tally` has the heaviest value first,
    `margin` is the weight of the winner less that of the next one. `dissent` are
    the children that voted otherwise. `missing` ballots were asked for and are not
    in the tally, `abstained` are those of them that were withheld.
    """

    value: Any
    output: Out
    tally: tuple[TallyEntry, ...]
    margin: float
    dissent: tuple[str, ...]
    missing: int
    abstained: int
    decided_early: bool
    rounds: int
    task_id: str

    @property
    def is_unanimous(self) -> bool:
        """Whether every ballot that was cast voted for the value."""
        return len(self.tally) <= 1


class Consensus(Collaboration[In, Out]):
    """A vote; make it with `consensus`. Its output is the representative ballot's, or the aggregate."""

    mode: ClassVar[str] = "consensus"

    def __init__(
        self, voter: AnyStep[Any, Any] | str, options: Mapping[str, Any], aggregate: Aggregate | None
    ) -> None:
        for term, words in _IMPLIED.items():
            options = implied(options, term, words)
        known = {**ConsensusOptions.__annotations__, "aggregate": None}
        super().__init__({**options, "aggregate": aggregate}, known)
        asked = as_step(voter)
        self._mode.voter.CopyFrom(asked.message)
        self._receiver = receiver([asked])
        self._giver = asked.kind if aggregate is None else as_kind("any")

    def verdict(self, task: Task) -> Verdict[Out]:
        """What a finished task of this kind came to; raises what `Task.result` raises."""
        output: Out = task.result(self)
        result = task.collaboration
        if result is None:
            raise ValueError(f"task {task.task_id} is no collaboration")
        return _verdict_of(task.task_id, output, result)


def _verdict_of(task_id: str, output: Any, result: CollaborationResult) -> Verdict[Any]:
    return Verdict(
        value=result.winning_value,
        output=output,
        tally=result.tally,
        margin=result.margin,
        dissent=result.dissent_task_ids,
        missing=result.missing,
        abstained=result.abstained,
        decided_early=result.decided_early,
        rounds=result.rounds,
        task_id=task_id,
    )


@overload
def consensus(
    voter: AnyStep[In, Out], *, aggregate: None = ..., **options: Unpack[ConsensusOptions]
) -> Consensus[In, Out]: ...


@overload
def consensus(
    voter: AnyStep[In, Any], *, aggregate: Aggregate, **options: Unpack[ConsensusOptions]
) -> Consensus[In, float]: ...


@overload
def consensus(
    voter: str, *, aggregate: Aggregate | None = ..., **options: Unpack[ConsensusOptions]
) -> Consensus[Any, Any]: ...


def consensus(
    voter: AnyStep[Any, Any] | str,
    *,
    aggregate: Aggregate | None = None,
    **options: Unpack[ConsensusOptions],
) -> Consensus[Any, Any]:
    """Ask several agents the same, and take what most of them say.

    `vote` is a JSON pointer to the vote in the output, "" the whole of it.
    `aggregate` makes one number of numeric votes. A handler abstains by raising
    `Abstain`. Raises ValueError, TypeError and CodecError for what cannot be
    expressed.
    """
    return Consensus(voter, options, aggregate)
