"""What must always hold of collaborations between two steps; see ``engine/invariants.py``."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.steps import requirements_of
from upbeat_server.engine.model import AttemptOutcome, TaskId, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.engine import Engine


def group_faults(engine: Engine) -> Iterator[str]:
    """Every violation as a sentence."""
    if engine.ended or engine.unsettled:
        yield "a group has not heard of a child's end"
    running = {
        task_id
        for task_id, task in engine.tasks.items()
        if task.spec.collaboration is not None and task.record.state == TaskState.RUNNING
    }
    if running != engine.groups.keys():
        yield "the groups are not those of the collaborations that run"
    children = 0
    for task in engine.tasks.values():
        record = task.record
        if not record.parent_id:
            continue
        children += 1
        parent = engine.groups.get(TaskId(record.parent_id))
        if parent is None:
            yield f"task {record.task_id:016x} outlives its collaboration"
        elif task.member_of is not parent or parent.live.get(record.member) is not task:
            yield f"task {record.task_id:016x} and its collaboration do not know each other"
    if children != engine.children:
        yield f"{children} tasks are children, {engine.children} are counted"
    roots = (task for task in engine.tasks.values() if not task.record.parent_id)
    steps = (requirements_of(task.spec) for task in roots if task.spec.collaboration is not None)
    if engine.expected.counts != Counter(chain.from_iterable(steps)):
        yield "what is expected of steps is not what the collaborations have"
    for group in engine.groups.values():
        yield from _group(group)
    if engine.reserved != sum(group.reserve for group in engine.groups.values()):
        yield "what is reserved for children is not what the collaborations need"


def _group(group: Group) -> Iterator[str]:
    name = f"collaboration {group.task.record.task_id:016x}"
    if group.task.group is not group or group.is_over:
        yield f"{name} has decided and is not over"
    if group.concurrent > group.collaboration.max_concurrency:
        yield f"{name} has {group.concurrent} children at once"
    if group.busy_bytes != sum(task.spec_size for key, task in group.live.items() if key not in group.held):
        yield f"{name} counts the bytes of its children wrongly"
    if not (group.live or group.waiting or group.wake_ms or group.is_open):
        yield f"{name} waits for nothing"
    for key, task_id in group.made.items():
        child = group.live.get(key)
        if child is not None and child.task_id != task_id:
            yield f"{name} has two children {key}"
    for panel, seats in group.panels.items():
        agents = [
            agent_id
            for key, agent_id in seats.items()
            if (child := group.live.get(key)) is not None and child.record.state == TaskState.RUNNING
        ]
        if len(set(agents)) != len(agents):
            yield f"{name} has an agent twice in {panel}"
    yield from _used(group, name)


def _used(group: Group, name: str) -> Iterator[str]:
    budget = group.budget
    running = 0
    below = list(group.live.values())
    while below:
        child = below.pop()
        if child.group is not None:
            below += child.group.live.values()
        elif child.record.attempts and child.record.attempts[-1].outcome == AttemptOutcome.RUNNING:
            running += 1
    if running != group.running:
        yield f"{name} has {running} attempts under way and counts {group.running}"
    if budget.attempts_max and group.attempts > budget.attempts_max:
        yield f"{name} has used {group.attempts} attempts of {budget.attempts_max}"
    if budget.children_max and group.made_below > budget.children_max:
        yield f"{name} has made {group.made_below} children of {budget.children_max}"
    if budget.cost_micros_max and running > 1 and group.reserved_micros > budget.cost_micros_max:
        yield f"{name} has reserved more than its budget"
