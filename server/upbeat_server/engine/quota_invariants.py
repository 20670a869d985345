"""What must always hold of quotas and of paused types between two steps (16)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from upbeat_server.engine.model import TaskState, task_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.lane import Bin
    from upbeat_server.engine.quotas import Quota


def is_let_through(bin_: Bin) -> bool:
    """Whether no quota holds the tasks of a bin back."""
    return bin_.rack is None or bin_.rack.gate.blocker() is None


def quota_faults(engine: Engine) -> Iterator[str]:
    """Every violation as a sentence."""
    quotas = engine.quotas
    named: Counter[str] = Counter()
    running: Counter[str] = Counter()
    for task in engine.tasks.values():
        keys = [limit.key for limit in task.spec.limits]
        if (task.gate is None) != (not keys):
            yield f"task {task.task_id:016x} and its gate disagree"
        named.update(keys)
        if task.record.state == TaskState.RUNNING:
            running.update(keys)
    held = {
        lease_id
        for agent in engine.fleet.agents.values()
        for lease_id, task in agent.leases.items()
        if task is None
    }
    for lease_id, gate in quotas.stopping.items():
        running.update(quota.key for quota in gate.quotas)
        if lease_id not in held:
            yield f"an attempt of task {task_of(lease_id):016x} is stopping at nobody"  # type: ignore[arg-type]
    if not named.keys() <= quotas.by_key.keys():
        yield "a limit that a live task names is not known"
    for quota in quotas.by_key.values():
        yield from _of_one(engine, quota, named[quota.key], running[quota.key])


def _of_one(engine: Engine, quota: Quota, named: int, running: int) -> Iterator[str]:
    name = f"the limit {quota.key!r}"
    if (quota.live, quota.running) != (named, running):
        yield f"{name} counts {quota.live} tasks and {quota.running} running; {named} and {running} are"
    token_ms = quota.token_ms(engine.clock_ms)
    if quota.is_full() and not quota.shut:
        yield f"{name} is full and lets tasks through"
    if token_ms and not quota.shut:
        yield f"{name} has no token and lets tasks through"
    if quota.shut and not quota.is_full() and not 0 < quota.due_ms <= max(token_ms, engine.clock_ms):
        yield f"{name} holds tasks back for nothing"
    if not named and not running and not quota.due_ms:
        yield f"{name} is kept for nobody"
    for lane, row in quota.rows.items():
        racks = {bin_.rack for bin_ in lane.bins.values() if bin_.rack is not None and bin_.rack.row is row}
        if row.size != len(racks):
            yield f"{name} counts {row.size} racks in a row of {len(racks)}"
        if not row.size or row.least() is None:
            yield f"{name} has a row without a task"
        if not quota.shut and not row.listed:
            yield f"{name} is open, and its row is not listed"
        for bin_ in lane.bins.values():
            if bin_.rack is not None and bin_.rack.row is row and not (bin_.listed and bin_.rack.listed):
                yield f"{name} has lost a rack"


def pause_faults(engine: Engine) -> Iterator[str]:
    """Types and their signatures agree on what is paused."""
    for signature in engine.queue.signatures.values():
        if signature.is_paused != (signature.requirement[0] in engine.fleet.paused):
            yield f"a signature of {signature.requirement[0]} and the pause of its type disagree"
