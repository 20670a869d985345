"""What happens to collaborations: they start, hear of their children, decide, end.

The rules that must not break:

- a group hears of a child's end in the step that ended it, so both are committed
  together, and in the order of ends;
- it decides once: from then on it is in ``engine.groups`` no longer, and its live
  children are ended before it is, so that none outlives it;
- only ``_perform`` makes a reducer's moves real; a reducer that breaks fails its own
  collaboration and nothing else.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from upbeat_server.engine import bus, reasons
from upbeat_server.engine.collaboration import accounts, ending
from upbeat_server.engine.collaboration.children import child_of, declined, make
from upbeat_server.engine.collaboration.facts import LearnedFacts
from upbeat_server.engine.collaboration.group import Group
from upbeat_server.engine.collaboration.mode import (
    Advance,
    Cancel,
    Child,
    Fail,
    Finish,
    Freeze,
    Grade,
    Release,
    Setting,
    Spawn,
    Wake,
    sound,
)
from upbeat_server.engine.collaboration.modes import mode_name, reducer_of
from upbeat_server.engine.commands import ModeBroke, TaskProgressed
from upbeat_server.engine.events import AttemptProgressed
from upbeat_server.engine.model import CustomMode, Error, GroupRecord, TaskState, lease_of
from upbeat_server.engine.queue import Signature, requirement_of
from upbeat_server.engine.task_machine import TaskInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upbeat_server.engine.collaboration.mode import Move
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.model import TaskSpec
    from upbeat_server.engine.task import Task

DESCENDANTS_MAX = 1_000
"""Descendants of a collaboration that may be live at once."""

FAIL_FAST = 2  # Of on_infeasible.


def start(engine: Engine, task: Task, now_ms: int) -> None:
    """A collaboration that is eligible makes its first children."""
    task.record.start_ms = now_ms
    task.record.eligible_ms = 0
    if task.record.group is None:
        task.record.group = GroupRecord()
    engine.move(task, TaskInput.START, now_ms)
    group = open_group(engine, task)
    if group is None:
        return
    moves = ask(engine, group, group.reducer.begin, LearnedFacts(engine, group))
    _perform(engine, group, moves, now_ms)


def open_group(engine: Engine, task: Task) -> Group | None:
    """The group of a RUNNING collaboration with a new reducer; None if its mode is not there."""
    collaboration = task.spec.collaboration
    if collaboration is None:
        return None
    parent = task.member_of
    compiled = (parent.predicates, parent.checks) if parent else engine.compiled.get(task.task_id, ({}, {}))
    memo = task.record.group.memo if task.record.group is not None else b""
    try:
        most = engine.limits.bounds.group_output_bytes_max
        setting = Setting(collaboration, task.spec.input, memo, compiled[1], most)
        reducer = reducer_of(setting, engine.modes)
    except Exception as error:
        # A mode in somebody else's package, or one that is gone since it was submitted.
        engine.commands.append(ModeBroke(task.task_id, mode_name(collaboration), error))
        reducer = _Missing(_broken(mode_name(collaboration), error))
    group = Group(task, collaboration, reducer, parent, compiled)
    task.group = group
    engine.groups[task.task_id] = group
    if parent is None:
        group.reserve = _reserve(engine, task.spec)
        engine.reserved += group.reserve
    return group


def _reserve(engine: Engine, spec: TaskSpec) -> int:
    try:
        return engine.live_max(spec)
    except Exception:
        return DESCENDANTS_MAX  # Of a mode that is gone, which cannot say.


def settle(engine: Engine, now_ms: int) -> None:
    """Tell groups of the children that ended, until nothing follows from it any more."""
    while engine.ended or engine.unsettled:
        if engine.unsettled:
            group = engine.unsettled.pop()
            if not group.is_over:
                moves, group.pending = group.pending, []
                _perform(engine, group, moves, now_ms)
            continue
        task = engine.ended.popleft()
        member = task.member_of
        if member is not None and not member.is_over:
            _child_ended(engine, member, task, now_ms)


def _child_ended(engine: Engine, group: Group, task: Task, now_ms: int) -> None:
    record = task.record
    key = record.member
    if group.live.pop(key, None) is None:
        return
    if key in group.held:
        del group.held[key]
    else:
        group.busy_bytes -= task.spec_size
    bus.leave(engine, group.task.task_id, task.task_id)
    group.note(record, task.spec.name)
    _perform(engine, group, ask(engine, group, group.reducer.ended, child_of(record)), now_ms)


def wake(engine: Engine, task: Task, now_ms: int) -> None:
    """The time that a group's reducer asked for has passed."""
    group = task.group
    if group is None or not 0 < group.wake_ms <= now_ms:
        return
    group.wake_ms = 0
    moves = ask(engine, group, group.reducer.woken, LearnedFacts(engine, group))
    _perform(engine, group, moves, now_ms)
    if not group.is_over:
        engine.arm(task)


def ask(engine: Engine, group: Group, question: Callable[..., Sequence[Move]], *told: Any) -> Sequence[Move]:
    """The reducer's moves; one that breaks fails its own collaboration."""
    try:
        moves = question(*told)
        is_foreign = isinstance(group.collaboration.mode, CustomMode)
        return [sound(move) for move in moves] if is_foreign else moves
    except Exception as error:
        name = mode_name(group.collaboration)
        engine.commands.append(ModeBroke(group.task.task_id, name, error))
        return [Fail(_broken(name, error))]


def _broken(name: str, error: Exception) -> Error:
    words = f"the mode {name} broke ({type(error).__name__}): the server's log has more"
    return Error(reasons.MODE_FAILED, words, non_retryable=True)


def tell(engine: Engine, group: Group, question: Callable[[], Sequence[Move]], now_ms: int) -> None:
    """Ask a group's reducer, and make its moves real."""
    _perform(engine, group, ask(engine, group, question), now_ms)


def _perform(engine: Engine, group: Group, moves: Sequence[Move], now_ms: int) -> None:
    refused: deque[Child] = deque()
    while True:
        for move in moves:
            if group.is_over:
                return
            child = declined(group, move)
            if child is None:
                _make_real(engine, group, move, now_ms)
            else:
                refused.append(child)
        if group.waiting:
            refused += _fill(engine, group, now_ms)
        if group.is_over:
            return
        if not refused:
            break
        moves = ask(engine, group, group.reducer.ended, refused.popleft())
    if group.live or group.waiting or group.wake_ms or group.is_open:
        return
    name = mode_name(group.collaboration)
    words = f"the mode {name} neither decided nor made a child: the mode is at fault"
    ending.fail(engine, group, Error(reasons.MODE_FAILED, words, non_retryable=True), None, now_ms)


def _make_real(engine: Engine, group: Group, move: Move, now_ms: int) -> None:
    match move:
        case Spawn():
            if move.key not in group.made:
                _spawn(engine, group, move, now_ms)
        case Release():
            group.hold_back(move)
        case Cancel(key):
            _give_up(engine, group, key, now_ms)
        case Freeze(memo):
            group.record.memo = memo
            engine.persist(group.task)
        case Wake(after_ms):
            group.wake_ms = now_ms + max(1, after_ms)
            engine.arm(group.task)
        case Grade(task_type, agent_id, correct):
            engine.grades.learn(task_type, agent_id, correct=correct)
        case Advance(fraction, message, chunk):
            _advance(engine, group, AttemptProgressed(0, fraction, message, chunk))
        case Finish(output, result):
            ending.complete(engine, group, output, result, now_ms)
        case Fail(error, result):
            ending.fail(engine, group, _at_root(group, error), result, now_ms)


def _at_root(group: Group, error: Error) -> Error:
    """Why a group fails: its budget, if that held something back, else what its mode says."""
    if group.short is None or error.reason == reasons.BUDGET_EXCEEDED:
        return error
    details = {**error.details, "reason": error.reason}
    return msgspec.structs.replace(group.short, details=details)


def _spawn(engine: Engine, group: Group, spawn: Spawn, now_ms: int) -> None:
    if spawn.panel:
        group.seats[spawn.key] = spawn.panel
    if spawn.hedge:
        engine.counters.hedges += 1
    if spawn.held and accounts.room_for_child(group) is None:
        make(engine, group, spawn, now_ms)
    else:
        group.hold_back(spawn)  # A held one is refused there.


def _give_up(engine: Engine, group: Group, key: str, now_ms: int) -> None:
    """End a child that is not wanted; one that is not made yet is never made."""
    child = group.live.get(key)
    if child is not None:
        ending.supersede(engine, child, ending.not_wanted(), now_ms)
    else:
        group.waiting.pop((Spawn, key), None)
        group.waiting.pop((Release, key), None)


def _advance(engine: Engine, group: Group, said: AttemptProgressed) -> None:
    """Tell watchers how far it got; no attempt says it, so it is told of attempt 0."""
    task_id = group.task.task_id
    said.lease_id = lease_of(task_id, 0)
    if said.chunk:
        group.told += 1
        said.sequence = group.told
    group.task.progress = said
    engine.commands.append(TaskProgressed(task_id, 0, said.fraction, said.message, said.chunk, said.sequence))


def _release(engine: Engine, group: Group, key: str, now_ms: int) -> None:
    """Queue, or start, a child that was held."""
    child = group.live.get(key)
    if child is None or key not in group.held:
        return
    del group.held[key]
    group.busy_bytes += child.spec_size
    if child.spec.collaboration is not None:
        start(engine, child, now_ms)
    else:
        engine.move(child, TaskInput.BECOME_ELIGIBLE, now_ms)


def _fill(engine: Engine, group: Group, now_ms: int) -> list[Child]:
    """Make, or release, the children that may be live at once.

    Answers those that a budget refuses, as if they had failed.
    """
    bytes_max = engine.limits.bounds.queue_bytes_max
    refused: list[Child] = []
    while group.waiting and not group.is_over and group.has_room(bytes_max - engine.queue_bytes):
        spawn = group.next_waiting()
        if isinstance(spawn, Release):
            _release(engine, group, spawn.key, now_ms)
            continue
        if spawn.key in group.made:
            continue
        over_budget = accounts.room_for_child(group)
        if over_budget is not None:
            over_budget.short = accounts.exhausted(over_budget)
            refused.append(Child(spawn.key, 0, TaskState.FAILED, error=over_budget.short))
            continue
        if group.collaboration.on_infeasible == FAIL_FAST and _is_infeasible(engine, group, spawn):
            ending.fail(engine, group, _infeasible(spawn.spec), None, now_ms)
            break
        child = make(engine, group, spawn, now_ms)
        if child.spec.collaboration is not None:
            start(engine, child, now_ms)
    return refused


def _is_infeasible(engine: Engine, group: Group, spawn: Spawn) -> bool:
    """Whether fewer capable agents are connected than the child, or its panel, needs."""
    spec = spawn.spec
    if spec.collaboration is not None:
        return False
    needed = 1
    if spawn.panel:
        needed = sum(panel == spawn.panel for panel in group.seats.values())
    predicate = group.predicates.get(spec.selector) if spec.selector else None
    return engine.fleet.count_capable(Signature(requirement_of(spec), predicate), needed) < needed


def _infeasible(spec: TaskSpec) -> Error:
    words = f"too few agents are connected that can do {spec.type}, and on_infeasible is FAIL_FAST"
    return Error(reasons.INFEASIBLE, words, non_retryable=True)


class _Missing:
    """In the place of a reducer that could not be made: its group fails at once."""

    def __init__(self, error: Error) -> None:
        self._error = error

    def begin(self, _facts: object) -> list[Move]:
        return [Fail(self._error)]

    def appended(self, _items: object) -> list[Move]:
        return []

    def closed(self) -> list[Move]:
        return []

    def ended(self, _child: object) -> list[Move]:
        return []

    def woken(self, _facts: object) -> list[Move]:
        return []
