"""Collaborations after a restart: made again from the rows of their children.

A new reducer is told what the old one was told, in the order in which it was
committed (see ``mode.py``). What the old one did is there already; what it would do
that is not there - there should be nothing - is done in the first step.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.children import attach, child_of, declined
from upbeat_server.engine.collaboration.facts import LearnedFacts
from upbeat_server.engine.collaboration.groups import ask, open_group
from upbeat_server.engine.collaboration.mode import Cancel, Fail, Finish, Freeze, Release, Spawn, Wake
from upbeat_server.engine.model import NO_PAYLOAD, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.collaboration.mode import Child, Move
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.model import TaskRecord, TaskSpec
    from upbeat_server.engine.task import Task

    Member = tuple[TaskRecord, TaskSpec]


def rebuild(engine: Engine, ended: Sequence[Member], now_ms: int) -> None:
    """Make all groups again. ``ended`` are the finished children of unfinished parents."""
    live: dict[int, list[Task]] = {}
    for task in engine.tasks.values():
        if task.record.parent_id:
            live.setdefault(task.record.parent_id, []).append(task)
    past: dict[int, list[Member]] = {}
    for member in ended:
        past.setdefault(member[0].parent_id, []).append(member)
    # A parent has a smaller id than its children, so the group of a child's parent is there.
    for task in sorted(engine.tasks.values(), key=_task_id):
        if task.spec.collaboration is not None and task.record.state == TaskState.RUNNING:
            group = open_group(engine, task)
            if group is not None:
                _rebuild(engine, group, live.get(task.task_id, []), past.get(task.task_id, []), now_ms)


def _rebuild(engine: Engine, group: Group, live: list[Task], past: list[Member], now_ms: int) -> None:
    records = [task.record for task in live] + [record for record, _ in past]
    for record in sorted(records, key=_ordinal):
        group.made[record.member] = record.task_id  # type: ignore[assignment]
    for child in live:
        if child.record.state == TaskState.PENDING and not child.record.eligible_ms:
            group.held[child.record.member] = None
    counts = group.record
    counts.completed = counts.failed = counts.cancelled = 0
    _replay(engine, group, past, now_ms)
    for child in sorted(live, key=_task_ordinal):
        attach(engine, group, child, is_restored=True)
        child.cost_before = child.record.usage.cost_micros
    for record in records:
        _count(group, record)
        if record.attempts:
            group.sit(record.member, record.attempts[-1].agent_id)
    if group.pending or group.waiting:
        engine.unsettled.append(group)
    engine.arm(group.task)


def _replay(engine: Engine, group: Group, past: list[Member], now_ms: int) -> None:
    """Tell the reducer all it was told."""
    reducer, counts = group.reducer, group.record
    moves = _answers(engine, group, lambda: reducer.begin(LearnedFacts(engine, group)))
    if counts.items:
        items = [NO_PAYLOAD] * counts.items
        moves += _answers(engine, group, lambda: reducer.appended(items))  # type: ignore[attr-defined]
    if counts.items_closed:
        moves += _answers(engine, group, reducer.closed)  # type: ignore[attr-defined]
    for record, spec in sorted(past, key=_revision):
        group.note(record, spec.name)
        child = child_of(record)
        moves += _answers(engine, group, lambda child=child: reducer.ended(child))  # type: ignore[misc]
    for move in moves:
        _remember(group, move, now_ms)


def _answers(engine: Engine, group: Group, question: Callable[[], Sequence[Move]]) -> list[Move]:
    """The moves that a reducer answers, and those that followed from children that were never made."""
    answers: list[Move] = []
    never_made: deque[Child] = deque()
    moves = ask(engine, group, question)
    while True:
        for move in moves:
            child = declined(group, move)
            if child is None:
                answers.append(move)
            else:
                never_made.append(child)
        if not never_made or any(isinstance(move, Finish | Fail) for move in answers):
            return answers
        child = never_made.popleft()
        moves = ask(engine, group, group.reducer.ended, child)


def _remember(group: Group, move: Move, now_ms: int) -> None:
    """Keep of a move what is not in the rows: seats, what waits, and what was not made."""
    match move:
        case Spawn():
            if move.panel:
                group.seats[move.key] = move.panel
            if move.key not in group.made:
                if move.held:
                    group.pending.append(move)
                else:
                    group.hold_back(move)
        case Wake(after_ms):
            group.wake_ms = now_ms + max(1, after_ms)
        case Release(key):
            if key in group.held:
                group.hold_back(move)
        case Freeze(memo):
            if memo != group.record.memo:
                group.pending.append(move)
        case Cancel() | Finish() | Fail():
            group.pending.append(move)
        case _:
            pass  # What was told to watchers or learned then, was.


def _count(group: Group, record: TaskRecord) -> None:
    """Count what a child, and what was below it, has used."""
    nested = record.group
    runs = record.state == TaskState.RUNNING and nested is None
    ended = nested is not None and record.end_ms
    for above in group.lineage():
        above.made_below += 1 + (nested.made if nested is not None and ended else 0)
        if nested is None:
            above.attempts += record.attempt
            above.running += runs
            above.cost_micros += record.usage.cost_micros
        elif ended:
            above.attempts += nested.attempts
            above.cost_micros += record.usage.cost_micros


def _task_id(task: Task) -> int:
    return task.record.task_id


def _ordinal(record: TaskRecord) -> int:
    return record.ordinal


def _task_ordinal(task: Task) -> int:
    return task.record.ordinal


def _revision(member: Member) -> int:
    return member[0].revision
