"""What must always hold between two steps, in code. Tests and simulation call it after each.

The numbers are those of ``server/ARCHITECTURE.md``. Costs as much as the state
is large: not for production.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from upbeat_server.engine.bus import invariants as bus_invariants
from upbeat_server.engine.collaboration.invariants import group_faults
from upbeat_server.engine.leases import current_lease
from upbeat_server.engine.model import FINISHED, AgentState, AttemptOutcome, TaskState
from upbeat_server.engine.quota_invariants import is_let_through, pause_faults, quota_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.task import Task


def check(engine: Engine) -> list[str]:
    """Every violation as a sentence; empty if all is well."""
    return [
        *_tasks(engine),
        *_agents(engine),
        *_queue(engine),
        *_indexes(engine),
        *quota_faults(engine),
        *pause_faults(engine),
        *group_faults(engine),
        *bus_invariants.check(engine),
    ]


def _tasks(engine: Engine) -> Iterator[str]:
    for task in engine.tasks.values():
        record = task.record
        name = f"task {record.task_id:016x}"
        if record.state in FINISHED:
            yield f"{name} is finished and still live"
        if record.state == TaskState.RUNNING and task.spec.collaboration is None:
            yield from _running(engine, task, name)
        elif task.agent is not None:
            yield f"{name} does not run and has an agent"
        if record.failures > task.spec.retry.max_attempts:
            yield f"{name} was charged more often than allowed"
        numbers = [attempt.attempt for attempt in record.attempts]
        if numbers != list(range(record.attempt - len(numbers) + 1, record.attempt + 1)):
            yield f"{name} has attempts with gaps: {numbers}"
        is_held = task.member_of is not None and record.member in task.member_of.held
        if record.state == TaskState.PENDING and not record.eligible_ms and not is_held:
            yield f"{name} is PENDING for nothing"
        due_ms = engine.due_ms(task)
        if due_ms and not task.timer_ms:
            yield f"{name} is due at {due_ms} and has no timer"


def _running(engine: Engine, task: Task, name: str) -> Iterator[str]:
    record = task.record
    lease_id = current_lease(task)
    if not record.attempts or record.attempts[-1].outcome != AttemptOutcome.RUNNING:
        yield f"{name} runs without a running attempt"
    if task.agent is not None:
        if task.agent.leases.get(lease_id) is not task:
            yield f"{name} runs on {task.agent.agent_id}, which does not know it"
    elif task.task_id not in engine.unadopted.get(record.attempts[-1].agent_id, {}):
        yield f"{name} runs nowhere and waits for nobody"


def _agents(engine: Engine) -> Iterator[str]:
    for agent in engine.fleet.agents.values():
        name = f"agent {agent.agent_id}"
        for lease_id, task in agent.leases.items():
            if task is not None and (task.agent is not agent or current_lease(task) != lease_id):
                yield f"{name} holds {lease_id:020x}, which is not current"
        if agent.state is AgentState.DISCONNECTED and agent.leases:
            yield f"{name} is gone and holds leases"
        unacked = sum(task.unacked_bytes for task in agent.leases.values() if task is not None)
        if agent.unacked_bytes != unacked:
            yield f"{name} has {unacked} unacknowledged bytes and counts {agent.unacked_bytes}"
        free = (
            agent.state is AgentState.CONNECTED
            and agent.in_use < agent.slots
            and agent.profile is not None
            and unacked < engine.limits.bounds.agent_unacked_bytes_max
        )
        if free != agent.available:
            yield f"{name} is {'not ' if free else ''}listed as free"
        if (agent.session_id != 0) != (engine.fleet.sessions.get(agent.session_id) is agent):
            yield f"{name} and its session disagree"
    gone = {name for name, agent in engine.fleet.agents.items() if agent.state is AgentState.DISCONNECTED}
    if gone != engine.fleet.gone.keys():
        yield "the list of agents that are gone is wrong"
    for profile in engine.fleet.profiles.values():
        free_count = sum(agent.available for agent in profile.agents.values())
        listed = profile.free_agents
        if free_count != len(listed) or not profile.agents:
            yield f"a profile lists {len(listed)} free agents of {free_count}"
        if any(agent.free_place != place or not agent.available for place, agent in enumerate(listed)):
            yield "a free agent does not know its place among those of its profile"
        if (profile.least_loaded() is None) != (free_count == 0):
            yield "a profile has lost its free agents"
        for signature in profile.signatures:
            if (profile in signature.free_profiles) != (free_count > 0 and not signature.is_paused):
                yield f"a signature and a profile disagree on being free: {signature.requirement}"


def _queue(engine: Engine) -> Iterator[str]:
    depth = 0
    for signature in engine.queue.signatures.values():
        depth += len(signature.aside)
        for lane in signature.lanes.values():
            depth += lane.depth
            if lane.depth != sum(bin_.depth for bin_ in lane.bins.values()):
                yield f"a lane of {signature.requirement} miscounts"
            first = lane.first() if lane.depth else None
            ranks = [bin_.rank for bin_ in lane.bins.values() if is_let_through(bin_)]
            if ranks and first is None:
                yield f"a lane of {signature.requirement} has lost its tasks"
            if first is not None and (not ranks or min(ranks) < first[0]):
                yield f"a lane of {signature.requirement} has a first task that is not"
            # One whose first task waits for a better agent is listed anew in the next turn.
            is_awaited = lane.is_ready and ranks and signature not in engine.held
            if is_awaited and not lane.listed:
                yield f"a lane of {signature.requirement} is ready and not listed"
            is_misplaced = lane.listed and first is not None and lane.bound > first[0]
            if is_misplaced and signature not in engine.held:
                yield f"a lane of {signature.requirement} is not listed in its place"
    signatures = engine.queue.signatures.values()
    if any(each.waiting != sum(lane.depth > 0 for lane in each.lanes.values()) for each in signatures):
        yield "signatures miscount their lanes with a task"
    if engine.queue.open_signatures != sum(bool(each.waiting and each.free_profiles) for each in signatures):
        yield "the queue miscounts the signatures that are open"
    queued = sum(task.record.state == TaskState.QUEUED for task in engine.tasks.values())
    if depth != queued:
        yield f"{queued} tasks are QUEUED, {depth} are in the queue"
    backlog = Counter(
        (task.spec.priority, task.spec.fairness_key) for task in engine.tasks.values() if task.queue_stamp
    )
    keys = {
        (priority, key.name): key.backlog
        for priority, of_class in engine.queue.keys.items()
        for key in of_class.values()
    }
    if backlog != {name: count for name, count in keys.items() if count}:
        yield "fairness keys miscount their tasks"
    live = Counter(task.signature.requirement for task in engine.tasks.values())
    known = {key: signature.live for key, signature in engine.queue.signatures.items()}
    if live != known:
        yield "signatures miscount their live tasks"
    pending = Counter(
        task.signature.requirement for task in engine.tasks.values() if task.record.state == TaskState.PENDING
    )
    if any(pending[key] != signature.pending for key, signature in engine.queue.signatures.items()):
        yield "signatures miscount their pending tasks"
    for signature in engine.queue.idle.values():
        depth = sum(lane.depth for lane in signature.lanes.values())
        if signature.live or signature.aside or depth or not signature.is_watched:
            yield f"a signature without a task is not idle: {signature.requirement}"


def _indexes(engine: Engine) -> Iterator[str]:
    dedup = {task.spec.dedup_key: task_id for task_id, task in engine.tasks.items() if task.spec.dedup_key}
    if dedup != engine.dedup_keys:
        yield "dedup keys disagree with the live tasks"
    size = sum(task.spec_size for task in engine.tasks.values())
    if size != engine.queue_bytes:
        yield f"queue_bytes is {engine.queue_bytes}, the live tasks have {size}"
    states = Counter(task.record.state for task in engine.tasks.values())
    if any(states[state] != count for state, count in engine.counters.live.items()):
        yield "counters disagree with the live tasks"
    for task in engine.tasks.values():
        request_id = task.record.request_id
        if request_id and engine.requests.get(request_id) != task.task_id:
            yield f"request_id {request_id} leads elsewhere"
