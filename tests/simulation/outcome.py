"""What a collaboration must have come to, worked out again from what is durable of its children.

A fresh reducer is told all ends in the order in which they were committed, as the contract of
modes says (``engine/collaboration/mode.py``). Whatever the one in the server did before a
crash, after it, or in several turns, it must be this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.collaboration.children import child_of, ran_ms
from upbeat_server.engine.collaboration.mode import Cancel, Fail, Finish, Release, Setting, Spawn
from upbeat_server.engine.collaboration.modes import reducer_of
from upbeat_server.engine.collaboration.steps import own_steps
from upbeat_server.engine.model import (
    FINISHED,
    NO_PAYLOAD,
    CollaborationResult,
    Competitive,
    Consensus,
    TaskState,
)
from upbeat_server.runtime.check import compile_check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.simulation.ledger import Life
    from upbeat_server.engine.collaboration.mode import Check, Move
    from upbeat_server.engine.model import Collaboration, TaskRecord, TaskSpec

HEDGED, PERFORMANCE = 2, 3
NOT_BY_ITS_MODE = frozenset(
    (reasons.TOTAL_TIMEOUT, reasons.BUDGET_EXCEEDED, reasons.INFEASIBLE, reasons.OUTPUT_TOO_LARGE)
)
"""Reasons that a collaboration ends with whatever its mode would say."""

compiled = cache(compile_check)


class MemoMissing(Exception):
    """A mode asked for something that it should have frozen when it began."""


class FrozenFacts:
    """What a mode may ask: it must not depend on it, or have frozen what it was told."""

    def weights(self, task_type: str, choices: int) -> tuple[dict[str, float], float]:
        """See Facts."""
        raise MemoMissing

    def label_weights(self, spec: TaskSpec, label: str) -> tuple[dict[str, float], float]:
        """See Facts."""
        raise MemoMissing

    def duration_ms(self, task_type: str, quantile: float) -> float | None:
        """See Facts: when a hedge comes is no matter of what it comes to."""
        return None

    def may_hedge(self) -> bool:
        """See Facts."""
        return True


@dataclass
class Replay:
    """What a reducer says to all that has happened."""

    made: frozenset[str]  # Children that there are.
    spawned: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)  # Children whose ends it heard of before it decided.
    decision: Finish | Fail | None = None

    def take(self, moves: Iterable[Move]) -> None:
        """Note moves up to the decision."""
        for move in moves:
            match move:
                case Spawn(key):
                    self.spawned.add(key)
                case Release(key):
                    self.released.add(key)
                case Cancel(key):
                    self.cancelled.add(key)
                    if key not in self.made:
                        self.spawned.discard(key)  # Never made.
                case Finish() | Fail():
                    self.decision = move
                    return
                case _:
                    pass


def replay(life: Life, children: Mapping[str, Life]) -> Replay:
    """Tell a new reducer all that is durable. Raises MemoMissing."""
    collaboration, group = life.spec.collaboration, life.last.group
    assert collaboration is not None
    assert group is not None
    setting = Setting(collaboration, life.spec.input, memo_of(life), _checks(collaboration))
    reducer = reducer_of(setting, {})
    found = Replay(frozenset(children))
    found.take(reducer.begin(FrozenFacts()))
    if group.items and found.decision is None:
        found.take(reducer.appended([NO_PAYLOAD] * group.items))  # type: ignore[attr-defined]
    if group.items_closed and found.decision is None:
        found.take(reducer.closed())  # type: ignore[attr-defined]
    ended = [child.last for child in children.values() if child.is_finished]
    for record in sorted(ended, key=_revision):
        if found.decision is not None:
            break
        found.told.add(record.member)
        found.take(reducer.ended(child_of(record)))
    return found


def memo_of(life: Life) -> bytes:
    """What its mode froze; the end of a collaboration clears it."""
    unfinished = [record for record in life.records if record.state not in FINISHED]
    return next((record.group.memo for record in reversed(unfinished) if record.group is not None), b"")


def is_known(life: Life) -> bool:
    """Whether all that its mode froze was durable before it ended: it may have ended in the same turn."""
    mode = life.spec.collaboration.mode if life.spec.collaboration is not None else None
    if isinstance(mode, Competitive):
        return mode.launch != HEDGED or not life.is_finished
    needs_memo = isinstance(mode, Consensus) and mode.weights == PERFORMANCE
    return not needs_memo or len(life.records) > 1


def ended_by_its_mode(record: TaskRecord) -> bool:
    """Whether the end is what the mode decided."""
    if record.state == TaskState.COMPLETED:
        return True
    return (
        record.state == TaskState.FAILED
        and record.error is not None
        and record.error.reason not in NOT_BY_ITS_MODE
    )


def differences(life: Life, children: Mapping[str, Life], found: Replay) -> Iterator[str]:
    """How the end of a collaboration differs from what its mode decides."""
    record, decision = life.last, found.decision
    assert record.group is not None
    result = record.group.result
    if decision is None or result is None:
        yield f"ended as {TaskState(record.state).name}, and its mode had not decided"
        return
    if isinstance(decision, Finish):
        if record.state != TaskState.COMPLETED or record.output != decision.output:
            yield f"ended as {TaskState(record.state).name} with another output than its mode decided"
    elif record.state != TaskState.FAILED or record.error != decision.error:
        yield f"ended as {TaskState(record.state).name} and failed by its mode: {decision.error.message}"
    if _of_the_mode(result) != _of_the_mode(decision.result):
        yield f"has the result {_of_the_mode(result)}, its mode came to {_of_the_mode(decision.result)}"
    superseded = [child.last for key, child in children.items() if key not in found.told]
    wasted_ms = decision.result.wasted_ms + sum(ran_ms(child) for child in superseded)
    if result.wasted_ms != wasted_ms:
        yield f"wasted {result.wasted_ms} ms by its result, and {wasted_ms} ms by its children"


def _of_the_mode(result: CollaborationResult) -> CollaborationResult:
    """Without what the group adds."""
    return msgspec.structs.replace(
        result, mode="", child_ids=(), wasted_ms=0, partial=(), partial_truncated=False
    )


def _checks(collaboration: Collaboration) -> Mapping[str, Check]:
    mode = collaboration.mode
    if isinstance(mode, Competitive) and mode.accept:
        return {mode.accept: compiled(mode.accept)}
    return {}


def panel_of(collaboration: Collaboration, key: str) -> str:
    """The children of which no two have the same agent; "" for a child that has no such siblings."""
    if not collaboration.distinct_agents:
        return ""
    match collaboration.mode:
        case Consensus():
            round_name, found, _ = key.partition("/voter/")
            return round_name if found else ""
        case Competitive():
            return "candidates" if key.count("/") == 1 and key.startswith("candidate/") else ""
        case _:
            return "" if key == "reducer" or not own_steps(collaboration) else "all"


def _revision(record: TaskRecord) -> int:
    return record.revision
