"""What a collaboration came to, as callers see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from upbeat import codec
from upbeat.errors import CodecError
from upbeat.v1 import task_pb2

if TYPE_CHECKING:
    from upbeat.v1 import payload_pb2


@dataclass(frozen=True, slots=True)
class TallyEntry:
    """One value that was voted for: by how many ballots, of which weight together."""

    value: Any
    ballots: int
    weight: float


@dataclass(frozen=True, slots=True)
class ChildOutcome:
    """What a child of a failed collaboration came to.

    `state` is one that is not final where the child had not ended. `output` is
    decoded by what it is; None where there is none. `reason` is that of its error.
    """

    task_id: str
    name: str
    ordinal: int
    state: str
    output: Any
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ItemError:
    """An item of a pipeline that was given up: which, in which stage (from 0), and why."""

    index: int
    stage: int
    task_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class CollaborationResult:
    """What a collaboration came to; what does not belong to its mode is empty.

    `mode` is its name in the contract. `tally` has the heaviest value first, and
    `winning_value` is decoded JSON. `wasted_s` is the time that agents spent on
    children whose work was not used. `partial` is set where it failed.
    """

    mode: str
    winner_task_id: str
    child_task_ids: tuple[str, ...]
    tally: tuple[TallyEntry, ...]
    margin: float
    winning_value: Any
    dissent_task_ids: tuple[str, ...]
    missing: int
    abstained: int
    decided_early: bool
    rounds: int
    partial: tuple[ChildOutcome, ...]
    partial_truncated: bool
    item_errors: tuple[ItemError, ...]
    failed_items: int
    completed_items: int
    wasted_s: float

    @classmethod
    def of(cls, message: task_pb2.CollaborationResult) -> Self:
        """The Python view of the contract's CollaborationResult."""
        return cls(
            mode=message.mode,
            winner_task_id=message.winner_task_id,
            child_task_ids=tuple(message.child_task_ids),
            tally=tuple(
                TallyEntry(_value_of(entry.value), entry.ballots, entry.weight) for entry in message.tally
            ),
            margin=message.margin,
            winning_value=_value_of(message.winning_value) if message.HasField("winning_value") else None,
            dissent_task_ids=tuple(message.dissent_task_ids),
            missing=message.missing,
            abstained=message.abstained,
            decided_early=message.decided_early,
            rounds=message.rounds,
            partial=tuple(map(_child_of, message.partial)),
            partial_truncated=message.partial_truncated,
            item_errors=tuple(map(_item_error_of, message.item_errors)),
            failed_items=message.failed_items,
            completed_items=message.completed_items,
            wasted_s=message.wasted.ToNanoseconds() / 1e9,
        )


def _child_of(child: task_pb2.ChildOutcome) -> ChildOutcome:
    states = task_pb2.Task.State
    known = child.state in states.values()
    return ChildOutcome(
        task_id=child.task_id,
        name=child.name,
        ordinal=child.ordinal,
        state=states.Name(child.state).removeprefix("STATE_") if known else str(child.state),
        output=_value_of(child.output) if child.HasField("output") else None,
        reason=child.error.reason,
        message=child.error.message,
    )


def _item_error_of(item: task_pb2.ItemError) -> ItemError:
    return ItemError(item.index, item.stage, item.task_id, item.error.reason, item.error.message)


def _value_of(payload: payload_pb2.Payload) -> Any:
    """A value by what it is; one that is not what it claims to be as its bytes."""
    try:
        return codec.decode(payload)
    except CodecError:
        return payload.data
