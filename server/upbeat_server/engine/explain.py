"""Why a task waits, which agents come closest, why its agent was chosen."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.collaboration import accounts
from upbeat_server.engine.model import AgentState, TaskState
from upbeat_server.engine.queue import order_of

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.model import Limit, TaskId
    from upbeat_server.engine.quotas import Quota
    from upbeat_server.engine.task import Task

CLOSEST_MAX = 10
AGENTS_LOOKED_AT_MAX = 2_000
TASKS_LOOKED_AT_MAX = 10_000


class WaitKind(IntEnum):
    """Kinds of reasons; the numbers are those of the wire."""

    NO_CAPABLE_AGENT = 1
    AGENTS_BUSY = 2
    BEHIND_OTHERS = 3
    BACKOFF = 4
    NOT_BEFORE = 5
    AGENTS_AVOIDED = 6
    DISPATCHING = 7
    CHILDREN = 8
    HELD = 9
    BUDGET = 10
    LIMIT = 11
    PAUSED = 12
    AGENT_AWAITED = 13


class Wait(msgspec.Struct):
    """One reason."""

    kind: WaitKind
    message: str
    count: int = 0
    until_ms: int = 0


class Fit(msgspec.Struct):
    """How well an agent fits a task."""

    agent_id: str
    lacks: list[str]
    free_slots: int


class Explanation(msgspec.Struct):
    """The answer; ``choice`` is empty before the first lease."""

    state: int
    waits: list[Wait]
    closest: list[Fit]
    choice: str


def explain(engine: Engine, task_id: TaskId, now_ms: int) -> Explanation | None:
    """Explain a live task; None if it is not live. Looks at a bounded number of agents."""
    task = engine.tasks.get(task_id)
    if task is None:
        return None
    # No agent ever holds a collaboration.
    fits = _fits(engine, task, now_ms) if task.spec.collaboration is None else []
    choice = ""
    if task.record.attempts:
        agent_id = task.record.attempts[-1].agent_id
        agent = engine.fleet.agents.get(agent_id)
        if agent is None:
            why = "it has left since"
        elif task.is_sticky:
            why = f"it was given the last task with the sticky key {task.spec.sticky_key!r}"
        else:
            why = engine.choice.explain(task, agent)
        choice = f"{agent_id}: {why}"
        if task.shadow is not None and task.shadow.is_alive:
            older = task.shadow
            choice += f"; attempt {older.attempt.attempt} on {older.agent.agent_id} goes on beside it"
    waits = [*_held_back(task, now_ms), *_waits(engine, task, fits)]
    return Explanation(task.record.state, waits, fits[:CLOSEST_MAX], choice)


def _held_back(task: Task, now_ms: int) -> list[Wait]:
    """The pause of its type and the limits without room, which hold back what is queued."""
    if task.record.state != TaskState.QUEUED:
        return []
    waits = []
    if task.signature.is_paused:
        waits.append(Wait(WaitKind.PAUSED, f"the type {task.spec.type} is paused (ResumeType ends that)"))
    if task.gate is not None:
        for limit, quota in zip(task.spec.limits, task.gate.quotas, strict=True):
            if quota.shut:
                waits.append(_limit(limit, quota, now_ms))
    return waits


def _limit(limit: Limit, quota: Quota, now_ms: int) -> Wait:
    """Why a quota has no room for the task, and whose number that is."""
    words, until_ms = f"limit {quota.key} reached: ", 0
    if quota.is_full():
        words += f"{quota.running} of {quota.max_running} running"
        if limit.max_running != quota.max_running:
            words += " (an unfinished task names this, the smallest max_running)"
    else:
        until_ms = quota.token_ms(now_ms)
        words += (
            f"{quota.per_second:g} starts a second; next token in {max(0, until_ms - now_ms) / 1000:.1f} s"
        )
        if limit.per_second != quota.per_second:
            words += " (an unfinished task names this, the smallest per_second)"
    return Wait(WaitKind.LIMIT, words, quota.running, until_ms)


def _waits(engine: Engine, task: Task, fits: list[Fit]) -> list[Wait]:
    record = task.record
    if task.group is not None:
        return [_children(task.group)]
    if record.state == TaskState.RUNNING:
        return []
    if record.state == TaskState.PENDING and task.member_of is not None and not record.eligible_ms:
        return [Wait(WaitKind.HELD, "its turn in its collaboration has not come")]
    if record.state == TaskState.PENDING:
        if record.attempt:
            words = f"attempt {record.attempt} failed; the next one waits for its backoff"
            return [Wait(WaitKind.BACKOFF, words, until_ms=record.eligible_ms)]
        words = "its not_before_time has not come"
        return [Wait(WaitKind.NOT_BEFORE, words, until_ms=record.eligible_ms)]
    if task in task.signature.aside:
        if task.member_of is not None and accounts.room_for(task.member_of)[0]:
            words = "the budget of its collaboration has no room before work that runs has ended"
            return [Wait(WaitKind.BUDGET, words)]
        if task.panel:
            words = "the free agents that can do it work, or worked, on a sibling: each has to be another"
            return [Wait(WaitKind.AGENTS_AVOIDED, words)]
        words = "the free agents that can do it failed it or gave it back lately"
        return [Wait(WaitKind.AGENTS_AVOIDED, words)]
    capable = [fit for fit in fits if not fit.lacks]
    if not capable:
        needs = ", ".join((task.spec.type, *task.spec.required_capabilities))
        selector = f" and matches {task.spec.selector!r}" if task.spec.selector else ""
        words = f"no connected agent offers {needs}{selector}"
        return [Wait(WaitKind.NO_CAPABLE_AGENT, words)]
    if any(fit.free_slots for fit in capable):
        if task.signature.is_paused or (task.gate is not None and task.gate.blocker() is not None):
            return []  # Nothing else holds it back.
        return _awaited(engine, task) or [Wait(WaitKind.DISPATCHING, "it is being handed out", len(capable))]
    words = f"all {len(capable)} agents that can do it are full"
    waits = [Wait(WaitKind.AGENTS_BUSY, words, len(capable))]
    ahead = _ahead(engine, task)
    if ahead:
        words = f"about {ahead} tasks that the same agents can do come first"
        waits.append(Wait(WaitKind.BEHIND_OTHERS, words, ahead))
    return waits


def _awaited(engine: Engine, task: Task) -> list[Wait]:
    """That it waits for a better agent than is free, itself or behind one that does."""
    first = task.bin.lane.first() if task.bin is not None and task.signature in engine.held else None
    if first is None or not first[1].held_since_ms:
        return []
    head = first[1]
    if not head.held_for:
        words = "it lets other work that waits go first, which the free agents are better at"
        return [Wait(WaitKind.BEHIND_OTHERS, words, 1)]
    if head is task:
        words = f"held for {head.held_for}, which is busy and should still be done sooner than a free agent"
        until_ms = head.held_since_ms + engine.limits.choice.hold_ms
        return [Wait(WaitKind.AGENT_AWAITED, words, 1, until_ms if until_ms > engine.clock_ms else 0)]
    words = f"behind task {head.task_id:016x}, which is held for {head.held_for} though others are free"
    return [Wait(WaitKind.BEHIND_OTHERS, words, _ahead(engine, task))]


def _children(group: Group) -> Wait:
    """What a collaboration waits for."""
    counts = group.record
    ended = counts.completed + counts.failed + counts.cancelled
    words = f"{ended} of its {len(group.made)} children so far have ended, {len(group.live)} are at work"
    if group.waiting:
        words += f", {len(group.waiting)} wait for a place (max_concurrency, their size or a budget)"
    if group.is_open:
        words += "; items may still be appended"
    return Wait(WaitKind.CHILDREN, words, len(group.live), group.wake_ms)


def _ahead(engine: Engine, task: Task) -> int:
    """Tasks of the same requirement that come first: higher classes, and earlier ones of its own key.

    Of a long queue every n-th is looked at, evenly over it, and the rest is estimated.
    """
    count = 0
    for priority, lane in task.signature.lanes.items():
        if priority > task.spec.priority:
            count += lane.depth
        elif priority == task.spec.priority:
            bin_ = task.bin
            if bin_ is not None:
                mine = (order_of(task, engine.predictor.type_ms(task.spec.type)), task.task_id)
                step = 1 + len(bin_.tasks) // TASKS_LOOKED_AT_MAX
                sample = [entry for entry in bin_.tasks[::step] if entry[3].queue_stamp == entry[2]]
                earlier = sum(entry[:2] < mine for entry in sample)
                count += earlier if step == 1 else bin_.depth * earlier // max(1, len(sample))
    return count


def _fits(engine: Engine, task: Task, now_ms: int) -> list[Fit]:
    """Agents by how little they lack, then by free slots."""
    fits = []
    for agent in list(engine.fleet.agents.values())[:AGENTS_LOOKED_AT_MAX]:
        if agent.state is AgentState.DISCONNECTED:
            continue
        fits.append(Fit(agent.agent_id, _lacks(task, agent, now_ms), max(0, agent.slots - agent.in_use)))
    fits.sort(key=lambda fit: (len(fit.lacks), -fit.free_slots, fit.agent_id))
    return fits


def _lacks(task: Task, agent: Agent, now_ms: int) -> list[str]:
    spec = task.spec
    lacks = [f"capability {spec.type}"] if spec.type not in agent.capabilities else []
    lacks += [f"capability {name}" for name in spec.required_capabilities if name not in agent.capabilities]
    predicate = task.signature.predicate
    if predicate is not None and not predicate(agent.labels):
        lacks.append(f"labels that match {spec.selector}")
    if agent.state is not AgentState.CONNECTED:
        lacks.append(f"state CONNECTED (it is {agent.state.name})")
    rejection = (task.rejections or {}).get(agent.agent_id)
    if rejection is not None and now_ms < rejection[1]:
        lacks.append("willingness: it gave the task back lately")
    return lacks
