"""Leases: granted, acknowledged, lost, returned, adopted; ``results.py`` has what is reported under them.

A lease is the right of one agent to report one attempt. The current lease of a
task is ``lease_of(task_id, record.attempt)`` while it is RUNNING, and nothing
else can change the task. An agent's ``leases`` hold its current ones and, with
None, those whose task moved on while the agent has not answered yet: their slot
stays taken until it does or its session ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import bus, reasons
from upbeat_server.engine.collaboration import accounts
from upbeat_server.engine.commands import Assign, CancelAttempt, TaskProgressed
from upbeat_server.engine.model import (
    ATTEMPTS_KEPT,
    ATTEMPTS_MAX,
    FAILED_AGENTS_KEPT,
    NO_SESSION,
    Attempt,
    AttemptOutcome,
    Error,
    ResultOutcome,
    SideEffects,
    TaskId,
    TaskState,
    attempt_of,
    lease_of,
    task_of,
)
from upbeat_server.engine.retries import backoff_ms, may_retry
from upbeat_server.engine.task_machine import TaskInput

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import AttemptAcked, AttemptProgressed
    from upbeat_server.engine.model import LeaseId
    from upbeat_server.engine.task import Task

# Members of an enumeration are looked up slowly; these are asked for with every task.
UNSAFE = SideEffects.UNSAFE
ASSIGN, COMPLETE = TaskInput.ASSIGN, TaskInput.COMPLETE
COMPLETED = AttemptOutcome.COMPLETED
ACCEPTED, REJECTED = ResultOutcome.ACCEPTED, ResultOutcome.REJECTED
LEARNED_FROM = frozenset((COMPLETED, AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT))

REJECTION_AVOID_MS = 1_000
REJECTION_AVOID_MAX_MS = 60_000


def current_lease(task: Task) -> LeaseId:
    """The lease of the running attempt."""
    return lease_of(task.task_id, task.record.attempt)


def grant(engine: Engine, task: Task, agent: Agent, now_ms: int) -> None:
    """Hand a queued task to a free agent."""
    record, spec = task.record, task.spec
    record.attempt = attempt = record.attempt + 1
    if record.acked:
        record.acked = False
    if not record.start_ms:
        record.start_ms = now_ms
    if task.held_since_ms:
        task.held_since_ms = 0
    record.attempt_deadline_ms = now_ms + spec.attempt_timeout_ms
    begun = Attempt(attempt, agent.agent_id, now_ms)
    record.attempts = [*record.attempts[1 - ATTEMPTS_KEPT :], begun] if attempt > 1 else [begun]
    # UNSAFE work that is not acknowledged may be running all the same: it waits for its deadline.
    if spec.side_effects != UNSAFE:
        task.ack_due_ms = now_ms + engine.limits.graces.ack_timeout_ms
    task.agent = agent
    left_ms = spec.attempt_timeout_ms
    if task.member_of is not None:
        accounts.reserve(task, agent)
        left_ms = _remaining_ms(task, now_ms)
    lease_id = lease_of(task.task_id, attempt)
    agent.leases[lease_id] = task
    task.unacked_bytes = task.spec_size
    agent.unacked_bytes += task.spec_size
    agent.turn += 1
    if task.gate is not None:
        engine.quotas.start(task.gate, now_ms)
    engine.move(task, ASSIGN, now_ms)
    task.charged_ms = work_ms = engine.predictor.type_ms(spec.type)
    engine.queue.charge(task, work_ms)
    engine.fleet.granted(agent)
    engine.counters.dispatched += 1
    engine.commands.append(Assign(agent.session_id, task, lease_id, left_ms))


def _remaining_ms(task: Task, now_ms: int) -> int:
    """What an attempt of a child that begins now has: its own time, or what is left of those above."""
    left_ms = task.spec.attempt_timeout_ms
    group = task.member_of
    while group is not None:
        total_ms = group.task.spec.total_timeout_ms
        if total_ms:
            left_ms = min(left_ms, group.task.record.create_ms + total_ms - now_ms)
        group = group.parent
    return max(left_ms, 0)


def acknowledge(engine: Engine, agent: Agent, ack: AttemptAcked, now_ms: int) -> None:
    """The agent answers an assignment. An answer for another lease than a current one is late."""
    task = agent.leases.get(ack.lease_id)
    if task is None:
        if not ack.accepted:
            free(engine, agent, ack.lease_id)
            let_go(engine, agent, ack.lease_id)
    elif ack.accepted:
        taken(engine, task)
    else:
        reject(engine, task, agent, ack.reason, now_ms)


def taken(engine: Engine, task: Task) -> None:
    """The agent showed that it has the attempt: it said so, works on it, or came back with it."""
    task.ack_due_ms = 0
    if task.unacked_bytes:
        arrived(engine, task)
    if task.spec.side_effects == UNSAFE and not task.record.acked:
        task.record.acked = True
        engine.persist(task)


def arrived(engine: Engine, task: Task) -> None:
    """The assignment is under way no longer: its bytes make room for another.

    Slots alone would let a server send an agent gigabytes at once, whose acknowledgements could
    not come in time.
    """
    agent, size = task.agent, task.unacked_bytes
    if agent is not None and size:
        task.unacked_bytes = 0
        agent.unacked_bytes -= size
        most = engine.limits.bounds.agent_unacked_bytes_max
        if agent.unacked_bytes < most <= agent.unacked_bytes + size:
            engine.fleet.refresh(agent)


def reject(engine: Engine, task: Task, agent: Agent, reason: str, now_ms: int) -> None:
    """The agent gives a task back: uncharged, and not offered to it again for a growing while.

    UNSAFE work that it had taken may have been begun, whatever it says now.
    """
    avoid(task, agent, now_ms)
    free(engine, agent, current_lease(task))
    why = f"given back by the agent: {reason}" if reason else "given back by the agent"
    if task.record.acked:
        lose(engine, task, why, now_ms)
    else:
        give_back(engine, task, Error(reasons.REJECTED_BY_AGENT, why), now_ms)


def avoid(task: Task, agent: Agent, now_ms: int) -> None:
    """Do not offer the task to the agent for a while that doubles each time."""
    if task.rejections is None:
        task.rejections = {}
    count, _ = task.rejections.get(agent.agent_id, (0, 0))
    avoid_ms = min(REJECTION_AVOID_MS << min(count, 16), REJECTION_AVOID_MAX_MS)
    task.rejections[agent.agent_id] = (count + 1, now_ms + avoid_ms)


def free(engine: Engine, agent: Agent, lease_id: int) -> None:
    """The agent has room again."""
    if lease_id in agent.leases:
        del agent.leases[lease_id]
        engine.quotas.answered(lease_id, engine.clock_ms)
        engine.fleet.refresh(agent)


def let_go(engine: Engine, agent: Agent, lease_id: int) -> None:
    """No result of the agent will come for a lease: if it was that of a shadow, there is none now."""
    task = engine.tasks.get(task_of(lease_id))  # type: ignore[arg-type]
    shadow = None if task is None else task.shadow
    if task is not None and shadow is not None and shadow.lease_id == lease_id and shadow.agent is agent:
        task.shadow = None
        engine.arm(task)


def progress(engine: Engine, agent: Agent, said: AttemptProgressed) -> None:
    """A running attempt says how it gets on; anything else is late and ignored."""
    task = agent.leases.get(said.lease_id)
    if task is None:
        return
    taken(engine, task)
    last = task.progress
    if last is not None and said.sequence and said.sequence <= last.sequence:
        return  # A chunk that was sent again.
    task.progress = said
    engine.commands.append(
        TaskProgressed(
            task.task_id,
            task.record.attempt,
            said.fraction,
            said.message,
            said.chunk,
            said.sequence,
        )
    )
    if last is not None and not said.sequence:
        said.sequence = last.sequence  # Words without a chunk do not restart its numbers.


def end_attempt(
    engine: Engine, task: Task, outcome: AttemptOutcome, error: Error | None, now_ms: int
) -> None:
    """Close the running attempt in the record, in what was learned, and in fairness."""
    attempt = task.record.attempts[-1]
    attempt.end_ms = now_ms
    attempt.outcome = outcome
    if error is not None:
        attempt.error = error
    engine.counters.attempts[outcome] += 1
    ran_ms = max(0, now_ms - attempt.start_ms)
    if outcome in LEARNED_FROM:
        agent = task.agent
        beside = 0 if agent is None else len(agent.leases) + 1
        learn(engine, task, attempt, now_ms, error, completed=outcome == COMPLETED, beside=beside)
        if task.charged_key is not None:
            engine.queue.settle(task, ran_ms - task.charged_ms)
    elif task.charged_key is not None:
        engine.queue.settle(task, min(0.0, ran_ms - task.charged_ms))
    task.charged_ms = 0.0
    if task.gate is not None:
        engine.quotas.end(task.gate, current_lease(task), now_ms)
    if task.member_of is not None:
        accounts.settle(task)
        bus.attempt_ended(engine, task)
    if task.unacked_bytes:
        arrived(engine, task)
    task.agent = None
    task.progress = None
    task.ack_due_ms = 0
    task.paused_ms = 0
    if engine.unadopted:
        _adopted_no_longer(engine, attempt.agent_id, task)


def learn(
    engine: Engine,
    task: Task,
    attempt: Attempt,
    now_ms: int,
    error: Error | None,
    *,
    completed: bool,
    beside: int = 0,
) -> None:
    """What an attempt that ends now says of its agent; ``beside``: see ``Predictor.learn``.

    An agent that abstains is wrong for the work, but it is not broken.
    """
    predictor, spec, agent_id = engine.predictor, task.spec, attempt.agent_id
    ran_ms = max(0, now_ms - attempt.start_ms)
    predictor.learn(spec.type, agent_id, ran_ms, completed=completed, beside=beside, size=spec.size_hint)
    engine.learned.changed[spec.type, agent_id] = None
    if not completed:
        if error is None or error.reason != reasons.ABSTAINED:
            predictor.streaks.failed(agent_id, predictor.surprise(spec.type), now_ms)
    elif predictor.streaks.by_agent:
        predictor.streaks.completed(agent_id, attempt.start_ms)


def _adopted_no_longer(engine: Engine, agent_id: str, task: Task) -> None:
    """The task waits for its agent to come back no more."""
    waiting = engine.unadopted.get(agent_id)
    if waiting is not None:
        waiting.pop(task.task_id, None)
        if not waiting:
            del engine.unadopted[agent_id]


def charge_failure(engine: Engine, task: Task, error: Error, now_ms: int) -> None:
    """An attempt failed or timed out (already closed): try again later, or give up."""
    record = task.record
    record.failures += 1
    record.error = error
    agent_id = record.attempts[-1].agent_id
    if agent_id not in record.failed_agents:
        record.failed_agents = [*record.failed_agents, agent_id][-FAILED_AGENTS_KEPT:]
    if not may_retry(task.spec, record, error):
        record.accepted_attempt = record.attempt
        engine.fail(task, error, now_ms)
    elif record.attempt >= ATTEMPTS_MAX:
        engine.fail(task, _too_often(), now_ms)
    else:
        engine.counters.retries += 1
        wait_ms = backoff_ms(task.spec.retry, record.failures, engine.entropy)
        record.eligible_ms = now_ms + wait_ms
        engine.move(task, TaskInput.BACK_OFF, now_ms)


def give_back(engine: Engine, task: Task, error: Error, now_ms: int) -> None:
    """The attempt ended without anybody's fault: back to the queue, uncharged."""
    end_attempt(engine, task, AttemptOutcome.RETURNED, error, now_ms)
    if task.record.attempt >= ATTEMPTS_MAX:
        engine.fail(task, _too_often(), now_ms)
    else:
        engine.move(task, TaskInput.RETURN, now_ms)


def lose(engine: Engine, task: Task, why: str, now_ms: int) -> None:
    """The agent is gone with the work: again elsewhere, within its own bound; never if UNSAFE."""
    error = Error(reasons.LEASE_LOST, why)
    record = task.record
    record.lease_losses += 1
    engine.counters.leases_lost += 1
    end_attempt(engine, task, AttemptOutcome.LEASE_LOST, error, now_ms)
    if task.spec.side_effects == SideEffects.UNSAFE:
        engine.fail(task, error, now_ms)
    elif record.lease_losses >= engine.limits.bounds.lease_losses_max:
        words = f"its lease was lost {record.lease_losses} times, the last time: {why}"
        engine.fail(task, Error(reasons.LEASE_LOST, words), now_ms)
    elif record.attempt >= ATTEMPTS_MAX:
        engine.fail(task, _too_often(), now_ms)
    else:
        record.error = error
        engine.move(task, TaskInput.RETURN, now_ms)


def return_or_lose(engine: Engine, task: Task, why: str, now_ms: int, *, is_heard: bool) -> None:
    """The agent has the lease no longer. If it never acknowledged it, nothing was begun.

    ``is_heard``: the very process that was given it came back without it. Where that one is merely
    gone, UNSAFE work may be running, or was begun, although no acknowledgement arrived.
    """
    if task.spec.side_effects == SideEffects.UNSAFE:
        never_begun = is_heard and not task.record.acked
    else:
        never_begun = bool(task.ack_due_ms)
    if never_begun:
        give_back(engine, task, Error(reasons.NOT_ACKNOWLEDGED, why), now_ms)
    else:
        lose(engine, task, why, now_ms)


def take_away(engine: Engine, task: Task, reason: str) -> None:
    """The task moves on without its agent's answer: the agent is told, its slot stays taken."""
    agent = task.agent
    if agent is None:
        return
    lease_id = current_lease(task)
    if agent.session_id == NO_SESSION:
        free(engine, agent, lease_id)
        return
    agent.leases[lease_id] = None
    if task.gate is not None:
        engine.quotas.stopping[lease_id] = task.gate
    grace_ms = task.member_of.collaboration.cancel_grace_ms if task.member_of is not None else 0
    engine.commands.append(CancelAttempt(agent.session_id, lease_id, reason, grace_ms))


def adopt(engine: Engine, agent: Agent, lease_id: int, now_ms: int) -> bool:
    """Bind a lease that the agent brought back to it. Answers False if it is not current."""
    task = engine.tasks.get(TaskId(task_of(lease_id)))  # type: ignore[arg-type]
    if task is None or task.record.state != TaskState.RUNNING or task.agent is not None:
        return False
    record = task.record
    if record.attempt != attempt_of(lease_id) or record.attempts[-1].agent_id != agent.agent_id:  # type: ignore[arg-type]
        return False
    task.agent = agent
    agent.leases[lease_id] = task
    taken(engine, task)
    resume_clock(engine, task, now_ms)
    _adopted_no_longer(engine, agent.agent_id, task)
    return True


def resume_clock(engine: Engine, task: Task, now_ms: int) -> None:
    """The attempt's deadline, which stood still while nobody was there, runs again."""
    if task.paused_ms:
        task.record.attempt_deadline_ms += max(0, now_ms - task.paused_ms)
        task.paused_ms = 0
        engine.arm(task)
        engine.persist(task)


def _too_often() -> Error:
    return Error(reasons.ATTEMPTS_EXHAUSTED, f"leased {ATTEMPTS_MAX} times, which is the limit")
