"""Defects of collaborations, planted like those in ``bugs.py``.

A reducer is not among the places: what a mode decides is held against its reducer, told again, and
a defect of the reducer itself is for the tests of the modes.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec

from upbeat_server.engine import step
from upbeat_server.engine.collaboration import accounts, children, ending, groups, items, rebuild
from upbeat_server.engine.collaboration.group import Group
from upbeat_server.engine.collaboration.mode import Freeze, Move, Release
from upbeat_server.store.memory import _Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat_server.engine.collaboration.mode import Spawn
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import TurnEnded
    from upbeat_server.engine.task import Task


@contextmanager
def _both(*patches: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield


def collaboration_decides_twice() -> Any:
    """A turn after its end, a collaboration is given another result."""
    real_leave, real_turn = ending._leave, step._end_turn
    decided: dict[int, Task] = {}

    def leave(engine: Engine, group: Group, *rest: Any) -> None:
        real_leave(engine, group, *rest)
        decided[id(engine)] = group.task

    def end_turn(engine: Engine, event: TurnEnded, now_ms: int) -> None:
        task = decided.pop(id(engine), None)
        if task is not None and task.record.end_ms < now_ms:
            task.record.usage = task.record.usage.plus(task.record.usage)
            engine.persist(task)
        real_turn(engine, event, now_ms)

    return _both(patch.object(ending, "_leave", leave), patch.object(step, "_end_turn", end_turn))


def children_outlive_a_cancel() -> Any:
    """A cancel ends the collaboration and forgets those below it."""
    real = ending.cancel

    def cancel(engine: Engine, group: Group, *rest: Any) -> None:
        group.live.clear()
        real(engine, group, *rest)

    return patch.object(ending, "cancel", cancel)


def decision_in_the_next_turn() -> Any:
    """Groups hear of ends when the next turn ends: a commit lies between both."""
    real_settle, real_turn = groups.settle, step._end_turn
    fresh: defaultdict[int, list[Task]] = defaultdict(list)
    due: defaultdict[int, list[Task]] = defaultdict(list)

    def settle(engine: Engine, _now_ms: int) -> None:
        fresh[id(engine)] += engine.ended
        engine.ended.clear()

    def end_turn(engine: Engine, event: TurnEnded, now_ms: int) -> None:
        engine.ended.extend(due.pop(id(engine), ()))
        real_settle(engine, now_ms)
        due[id(engine)] = fresh.pop(id(engine), [])
        real_turn(engine, event, now_ms)

    return _both(patch.object(groups, "settle", settle), patch.object(step, "_end_turn", end_turn))


def last_end_not_told_again() -> Any:
    """A rebuilt reducer is not told of the last child that ended."""
    real = rebuild._replay

    def replay(engine: Engine, group: Group, past: list[Any], now_ms: int) -> None:
        real(engine, group, sorted(past, key=rebuild._revision)[:-1], now_ms)

    return patch.object(rebuild, "_replay", replay)


def ends_told_by_ordinal() -> Any:
    """A rebuilt reducer is told of ends in the order in which children were made."""
    return patch.object(rebuild, "_revision", lambda member: member[0].ordinal)


def seats_forgotten_at_restart() -> Any:
    """After a restart, who worked for a panel may work for it again."""
    real = rebuild._rebuild

    def forget(engine: Engine, group: Group, *rest: Any) -> None:
        real(engine, group, *rest)
        group.panels.clear()

    return patch.object(rebuild, "_rebuild", forget)


def ended_children_forgotten_at_restart() -> Any:
    """After a restart, the key of a child that has ended is taken for a new one."""
    real = rebuild._rebuild

    def forget(engine: Engine, group: Group, live: list[Task], past: list[Any], now_ms: int) -> None:
        real(engine, group, live, past, now_ms)
        for record, _ in past:
            group.made.pop(record.member, None)

    return patch.object(rebuild, "_rebuild", forget)


def budget_forgotten_at_restart() -> Any:
    """After a restart, nothing of a budget is used."""
    return patch.object(rebuild, "_count", lambda _group, _record: None)


def cost_not_reserved() -> Any:
    """A budget looks at what was used, not at what is under way."""
    return patch.object(Group, "reserved_micros", property(lambda _self: 0))


def cost_not_settled_above() -> Any:
    """What an attempt has cost is counted in its own group only."""

    def settle(task: Task) -> None:
        member = task.member_of
        if member is not None:
            for group in member.lineage():
                group.running -= 1
            member.cost_micros += task.record.usage.cost_micros - task.cost_before

    return patch.object(accounts, "settle", settle)


def spawn_key_used_twice() -> Any:
    """A step is made under the key of one that has ended."""
    real = children.make

    def make(engine: Engine, group: Group, spawn: Spawn, now_ms: int) -> Task:
        ended = [key for key in group.made if key not in group.live and key.startswith("step/")]
        if ended and spawn.key.startswith("step/"):
            spawn = msgspec.structs.replace(spawn, key=ended[-1])
        return real(engine, group, spawn, now_ms)

    return patch.object(groups, "make", make)


def memo_not_frozen() -> Any:
    """What a mode froze is kept in memory only."""
    real = groups._make_real

    def make_real(engine: Engine, group: Group, move: Move, now_ms: int) -> None:
        if not isinstance(move, Freeze):
            real(engine, group, move, now_ms)

    return patch.object(groups, "_make_real", make_real)


def hedges_forgotten_at_restart() -> Any:
    """A rebuilt competition has launched no hedge yet."""
    real = groups.open_group

    def open_group(engine: Engine, task: Task) -> Group | None:
        record = task.record.group
        memo, record.memo = record.memo, b""  # type: ignore[union-attr]
        group = real(engine, task)
        record.memo = memo  # type: ignore[union-attr]
        return group

    return patch.object(rebuild, "open_group", open_group)


def waiting_spawns_forgotten_at_restart() -> Any:
    """After a restart, children that waited for a place are never made."""
    real = rebuild._rebuild

    def forget(engine: Engine, group: Group, *rest: Any) -> None:
        real(engine, group, *rest)
        if group.live:
            group.waiting.clear()

    return patch.object(rebuild, "_rebuild", forget)


def ended_children_purged() -> Any:
    """A purge takes finished children of a collaboration that still runs."""
    return patch.object(_Namespace, "is_member", lambda _self, _task_id: False)


def appended_items_not_counted() -> Any:
    """How many items were appended is not durable."""
    real = items.append_items

    def append_items(engine: Engine, event: Any, now_ms: int) -> None:
        real(engine, event, now_ms)
        task = engine.tasks.get(event.task_id)
        if task is not None and task.group is not None:
            task.group.record.items = min(1, task.group.record.items)

    return patch.object(items, "append_items", append_items)


def child_has_its_own_place() -> Any:
    """A child queues up behind what was submitted after its collaboration."""
    real = children.make

    def make(engine: Engine, group: Group, spawn: Spawn, now_ms: int) -> Task:
        task = real(engine, group, spawn, now_ms)
        task.record.submit_ms = now_ms
        return task

    return patch.object(groups, "make", make)


def released_beyond_concurrency() -> Any:
    """Items are released whatever is at work already."""
    real = groups._make_real

    def make_real(engine: Engine, group: Group, move: Move, now_ms: int) -> None:
        if isinstance(move, Release):
            groups._release(engine, group, move.key, now_ms)
        else:
            real(engine, group, move, now_ms)

    return patch.object(groups, "_make_real", make_real)


def given_up_and_made() -> Any:
    """A step that waits goes on when its mode gives it up."""

    def give_up(engine: Engine, group: Group, key: str, now_ms: int) -> None:
        child = group.live.get(key)
        if child is not None:
            ending.supersede(engine, child, ending.not_wanted(), now_ms)

    return patch.object(groups, "_give_up", give_up)


GROUP_BUGS = (
    collaboration_decides_twice,
    children_outlive_a_cancel,
    decision_in_the_next_turn,
    last_end_not_told_again,
    ends_told_by_ordinal,
    seats_forgotten_at_restart,
    ended_children_forgotten_at_restart,
    budget_forgotten_at_restart,
    cost_not_reserved,
    cost_not_settled_above,
    spawn_key_used_twice,
    memo_not_frozen,
    hedges_forgotten_at_restart,
    waiting_spawns_forgotten_at_restart,
    ended_children_purged,
    appended_items_not_counted,
    child_has_its_own_place,
    released_beyond_concurrency,
    given_up_and_made,
)
