"""What time does to tasks: start times, backoffs, and the four timeouts.

The timers of tasks are lazy: one may come early for a task whose due time moved
on, and is then set anew. Several may come in one turn, and what the first of them
does may be that the others are due no longer: an agent's silence takes its leases
before their deadlines are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import hedging, leases, reasons
from upbeat_server.engine.collaboration import ending, groups
from upbeat_server.engine.model import AttemptOutcome, Error, TaskId, TaskState
from upbeat_server.engine.sessions import check_on, end_adoption
from upbeat_server.engine.task_machine import TaskInput
from upbeat_server.engine.timers import WAKE_NEVER

if TYPE_CHECKING:
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.task import Task


def fire(engine: Engine, now_ms: int) -> None:
    """Do everything that is due."""
    for key in engine.timers.due(now_ms):
        if key > 0:
            task = engine.tasks.get(TaskId(key))
            if task is not None:
                engine.disarm(task)  # What was due before it may have set its timer anew.
                _fire_task(engine, task, now_ms)
        else:
            agent = engine.fleet.of_index.get(-key)
            if agent is not None:
                agent.timer_ms = 0
                check_on(engine, agent, now_ms)
    if now_ms >= engine.quotas.due_ms:
        engine.quotas.look(now_ms)
    if now_ms >= engine.adoption_ends_ms:
        engine.adoption_ends_ms = WAKE_NEVER
        end_adoption(engine, now_ms)


def _fire_task(engine: Engine, task: Task, now_ms: int) -> None:
    record, spec = task.record, task.spec
    due_ms = engine.due_ms(task)
    if not due_ms or now_ms < due_ms:
        engine.arm(task)
    elif spec.total_timeout_ms and now_ms >= record.create_ms + spec.total_timeout_ms:
        _time_out(engine, task, now_ms)
    elif task.shadow is not None and now_ms >= task.shadow.deadline_ms:
        hedging.time_out(engine, task, now_ms)
        _fire_task(engine, task, now_ms)
    elif spec.collaboration is not None:
        if record.state == TaskState.PENDING:
            groups.start(engine, task, now_ms)
        else:
            groups.wake(engine, task, now_ms)
    elif record.state == TaskState.PENDING:
        engine.move(task, TaskInput.BECOME_ELIGIBLE, now_ms)
    elif record.state == TaskState.QUEUED:
        words = f"no agent took it within its queue_timeout of {_seconds(spec.queue_timeout_ms)}"
        engine.fail(task, Error(reasons.QUEUE_TIMEOUT, words), now_ms)
    elif now_ms >= record.attempt_deadline_ms:
        _time_out_attempt(engine, task, now_ms)
    else:
        _unacknowledged(engine, task, now_ms)


def _time_out(engine: Engine, task: Task, now_ms: int) -> None:
    """The whole task took too long, wherever it is."""
    words = f"not done within its total_timeout of {_seconds(task.spec.total_timeout_ms)}"
    error = Error(reasons.TOTAL_TIMEOUT, words)
    if task.group is not None:
        ending.fail(engine, task.group, error, None, now_ms)
        return
    if task.record.state == TaskState.RUNNING:
        leases.take_away(engine, task, reasons.TOTAL_TIMEOUT)
        leases.end_attempt(engine, task, AttemptOutcome.TIMED_OUT, error, now_ms)
    engine.fail(task, error, now_ms)


def _time_out_attempt(engine: Engine, task: Task, now_ms: int) -> None:
    words = f"ran longer than its attempt_timeout of {_seconds(task.spec.attempt_timeout_ms)}"
    member = task.member_of
    if member is not None and task.spec.attempt_timeout_ms == member.collaboration.step_timeout_ms:
        words = f"ran longer than the step_timeout of {_seconds(task.spec.attempt_timeout_ms)}"
    error = Error(reasons.ATTEMPT_TIMEOUT, words)
    leases.take_away(engine, task, reasons.ATTEMPT_TIMEOUT)
    leases.end_attempt(engine, task, AttemptOutcome.TIMED_OUT, error, now_ms)
    leases.charge_failure(engine, task, error, now_ms)


def _unacknowledged(engine: Engine, task: Task, now_ms: int) -> None:
    """The agent never answered the assignment: back to the queue, and not to it for a while."""
    agent = task.agent
    leases.take_away(engine, task, reasons.NOT_ACKNOWLEDGED)
    if agent is not None:
        leases.avoid(task, agent, now_ms)
    words = f"not acknowledged within {_seconds(engine.limits.graces.ack_timeout_ms)}"
    leases.give_back(engine, task, Error(reasons.NOT_ACKNOWLEDGED, words), now_ms)


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms / 1_000:g} s"
