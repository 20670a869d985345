"""Second runs that the scheduler begins on its own, of work that may be done twice (``SIDE_EFFECTS_NONE``).

An attempt that should have been done by now is looked at: if its agent is known to be bad at it, or it
takes longer than nearly all of its type, and a sound agent has nothing better to do, that one gets the task
as well. Whichever completes first counts. What follows from it is kept small:

- There is one current lease, as ever: the new one. The record says of the older attempt that it was HEDGED,
  so that a restart knows nothing of it but a lease that is over.
- The older attempt is the task's ``Shadow``. Its agent's slot stays taken, and it is not told to stop. All
  that it can do is to complete: then the task is, whatever its current attempt is at. If it fails, runs
  out of its time, or its agent leaves, it is gone, and nothing is charged.
- When the task ends otherwise, the agent of its shadow is told to stop. While it has one, it does not end
  for having waited too long in the queue.

A task has one shadow at most, and gets one only if a failure of the second run would not be its last. Work
that names limits is not hedged, for a second run would count against them; neither are children, of which
``COMPETITIVE`` says more. Hedges are at most ``hedge_share`` of what is handed out. They never go before
anything that waits.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from upbeat_server.engine import leases, reasons
from upbeat_server.engine.commands import AckResult, CancelAttempt
from upbeat_server.engine.model import (
    ATTEMPTS_MAX,
    NO_SESSION,
    AttemptOutcome,
    Error,
    ResultOutcome,
    SideEffects,
    TaskId,
    TaskState,
)
from upbeat_server.engine.task_machine import TaskInput
from upbeat_server.engine.timers import WAKE_NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import AttemptEnded
    from upbeat_server.engine.model import Attempt, LeaseId
    from upbeat_server.engine.task import Task

NONE = SideEffects.NONE

TOKENS_MAX = 20.0
"""Hedges that a quiet time saves up."""

LOOKED_AT_MAX = 256
"""Attempts looked at in one turn; the next turn follows at once."""

AGAIN_MIN_MS = 250

DUES_MIN = 1_024
"""Attempts to be looked at, up to which those that have ended are not searched for."""

OVERTAKEN = "another attempt of the task was done first"


class Shadow:
    """An older attempt of a task that goes on beside the current one."""

    __slots__ = ("agent", "attempt", "deadline_ms", "lease_id")

    def __init__(self, agent: Agent, lease_id: LeaseId, attempt: Attempt, deadline_ms: int) -> None:
        self.agent = agent
        self.lease_id = lease_id
        self.attempt = attempt
        self.deadline_ms = deadline_ms  # The attempt's own.

    @property
    def is_alive(self) -> bool:
        """Whether its agent still has it. Not if the agent failed it, left, or came back."""
        return self.agent.leases.get(self.lease_id, self) is None


class Hedges:
    """Which attempts are to be looked at, and how many second runs may be begun."""

    __slots__ = ("_dispatched", "_dues", "_dues_max", "_tokens", "due_ms")

    def __init__(self) -> None:
        self._dues: list[tuple[int, TaskId, int]] = []  # (when, task, attempt); some have long ended.
        self._dues_max = DUES_MIN  # When there are more, those are searched for.
        self._dispatched = 0  # As of the last look at the tokens.
        self._tokens = 0.0
        self.due_ms = WAKE_NEVER  # When an attempt is to be looked at.

    def watch(self, task: Task, due_ms: int) -> None:
        """Look at the task's running attempt then."""
        heappush(self._dues, (due_ms, task.task_id, task.record.attempt))
        self.due_ms = self._dues[0][0]

    @property
    def count(self) -> int:
        """Attempts to be looked at, with those that have ended and were not found yet."""
        return len(self._dues)

    def sweep(self, tasks: Mapping[TaskId, Task]) -> None:
        """Forget attempts that have ended, if they may be many: live ones are at most one a task.

        Those of a type that takes an hour would else be kept for two, however soon they fail.
        """
        if len(self._dues) <= self._dues_max:
            return
        self._dues = [due for due in self._dues if due[1] in tasks and tasks[due[1]].record.attempt == due[2]]
        heapify(self._dues)
        self._dues_max = max(DUES_MIN, 2 * len(self._dues))
        self.due_ms = self._dues[0][0] if self._dues else WAKE_NEVER

    def pop(self) -> tuple[TaskId, int]:
        """The next one: task and attempt."""
        _, task_id, attempt = heappop(self._dues)
        self.due_ms = self._dues[0][0] if self._dues else WAKE_NEVER
        return task_id, attempt

    def has_token(self, dispatched: int, share: float) -> bool:
        """Whether one more may be begun, after so many attempts were handed out in all."""
        self._tokens = min(TOKENS_MAX, self._tokens + share * (dispatched - self._dispatched))
        self._dispatched = dispatched
        return self._tokens >= 1

    def take_token(self) -> None:
        """One is begun."""
        self._tokens -= 1


def may_hedge(task: Task) -> bool:
    """Whether a second run of such a task is nobody's business but the scheduler's."""
    return task.spec.side_effects == NONE and task.member_of is None and task.gate is None


def watch(engine: Engine, task: Task, agent: Agent, now_ms: int) -> None:
    """The task was handed to the agent: look at it when it should have been done."""
    if task.shadow is None and engine.limits.choice.hedge_share:
        after_ms = engine.choice.overrun_ms(task, agent)
        if after_ms:
            engine.hedges.watch(task, now_ms + after_ms)


def end_turn(engine: Engine, now_ms: int) -> None:
    """All that waits was handed out: what is free now may run something a second time."""
    hedges = engine.hedges
    hedges.sweep(engine.tasks)
    left = LOOKED_AT_MAX
    while left and hedges.due_ms <= now_ms:
        left -= 1
        task_id, attempt = hedges.pop()
        task = engine.tasks.get(task_id)
        if task is not None and task.record.attempt == attempt:
            _look_at(engine, task, now_ms)
    if hedges.due_ms < WAKE_NEVER:
        wanted_ms = max(hedges.due_ms, now_ms)
        engine.turn_wanted_ms = min(engine.turn_wanted_ms or wanted_ms, wanted_ms)


def _look_at(engine: Engine, task: Task, now_ms: int) -> None:
    record = task.record
    if record.state != TaskState.RUNNING or task.agent is None or task.shadow is not None:
        return
    if not _can_afford(engine, task):
        return
    ran_ms = now_ms - record.attempts[-1].start_ms
    if engine.choice.is_late(task, task.agent, ran_ms) and engine.hedges.has_token(
        engine.counters.dispatched, engine.limits.choice.hedge_share
    ):
        second = _second(engine, task, task.agent, ran_ms, now_ms)
        if second is not None:
            _begin(engine, task, task.agent, second, now_ms)
            return
    engine.hedges.watch(task, now_ms + max(AGAIN_MIN_MS, ran_ms // 2))


def _can_afford(engine: Engine, task: Task) -> bool:
    """Whether a second run could fail, or be lost, without ending the task."""
    record = task.record
    return (
        record.failures + 1 < task.spec.retry.max_attempts
        and record.lease_losses + 1 < engine.limits.bounds.lease_losses_max
        and record.attempt + 1 < ATTEMPTS_MAX
    )


def _second(engine: Engine, task: Task, agent: Agent, ran_ms: int, now_ms: int) -> Agent | None:
    """Another free agent that should be done with it sooner."""
    shunned = {agent.agent_id, *task.record.failed_agents, *(task.rejections or ())}
    free = [agent for agent in engine.fleet.sample(task.signature) if agent.agent_id not in shunned]
    return engine.choice.second(task, free, ran_ms, now_ms) if free else None


def _begin(engine: Engine, task: Task, agent: Agent, second: Agent, now_ms: int) -> None:
    """The task goes to the second agent as well."""
    lease_id = leases.current_lease(task)
    shadow = Shadow(agent, lease_id, task.record.attempts[-1], task.record.attempt_deadline_ms)
    engine.hedges.take_token()
    engine.counters.hedges += 1
    agent.leases[lease_id] = None
    leases.end_attempt(engine, task, AttemptOutcome.HEDGED, None, now_ms)
    engine.move(task, TaskInput.RETURN, now_ms)
    task.shadow = shadow
    task.is_sticky = False  # That is why the first agent was picked.
    leases.grant(engine, task, second, now_ms)


def report(engine: Engine, task: Task, agent: Agent, ended: AttemptEnded, now_ms: int) -> bool:
    """A result for a lease that is not current. Answers whether it was the task's shadow that completed."""
    shadow = task.shadow
    if shadow is None or shadow.lease_id != ended.lease_id or shadow.agent is not agent:
        return False
    task.shadow = None
    record, attempt = task.record, shadow.attempt
    if ended.usage is not None:
        record.usage = record.usage.plus(ended.usage)
    is_completed = ended.output is not None and not ended.rejected
    leases.learn(engine, task, attempt, now_ms, ended.error, completed=is_completed)
    if not is_completed or attempt not in record.attempts:
        has_abstained = ended.error is not None and ended.error.reason == reasons.ABSTAINED
        agent.failed += not is_completed and not has_abstained
        engine.arm(task)
        engine.persist(task)
        return False
    agent.completed += 1
    if record.state == TaskState.RUNNING:
        leases.take_away(engine, task, reasons.SUPERSEDED)
        error = Error(reasons.SUPERSEDED, OVERTAKEN)
        leases.end_attempt(engine, task, AttemptOutcome.CANCELLED, error, now_ms)
    engine.counters.attempts[AttemptOutcome.COMPLETED] += 1
    attempt.outcome = AttemptOutcome.COMPLETED
    attempt.end_ms = now_ms
    record.attempts = [*(other for other in record.attempts if other is not attempt), attempt]
    record.output, record.error = ended.output, None
    record.accepted_attempt = attempt.attempt
    engine.move(task, TaskInput.OVERTAKE, now_ms)
    engine.commands.append(AckResult(agent.session_id, ended.lease_id, ResultOutcome.ACCEPTED))
    return True


def drop(engine: Engine, task: Task, now_ms: int) -> None:
    """The task has ended: its shadow is not wanted any more.

    That it is not done yet says something of its agent only if it had longer than was expected of it: that
    it is slow. Not that it is sound: one that never ends anything is overtaken every time.
    """
    shadow, task.shadow = task.shadow, None
    if shadow is None or not shadow.is_alive:
        return
    agent, attempt = shadow.agent, shadow.attempt
    attempt.end_ms = now_ms
    spec = task.spec
    ran_ms = now_ms - attempt.start_ms
    if ran_ms > engine.predictor.run_ms(spec.type, agent.agent_id, spec.size_hint):
        engine.predictor.learn_overtaken(spec.type, agent.agent_id, ran_ms, spec.size_hint)
        engine.learned.changed[spec.type, agent.agent_id] = None
    _stop(engine, shadow, reasons.SUPERSEDED)


def time_out(engine: Engine, task: Task, now_ms: int) -> None:
    """The task's shadow has had the time of any attempt. The task's timer is to be set anew."""
    shadow, task.shadow = task.shadow, None
    if shadow is not None and shadow.is_alive:
        shadow.attempt.end_ms = now_ms
        leases.learn(engine, task, shadow.attempt, now_ms, None, completed=False)
        _stop(engine, shadow, reasons.ATTEMPT_TIMEOUT)
        engine.persist(task)


def _stop(engine: Engine, shadow: Shadow, reason: str) -> None:
    agent = shadow.agent
    if agent.session_id == NO_SESSION:
        leases.free(engine, agent, shadow.lease_id)
    else:
        engine.commands.append(CancelAttempt(agent.session_id, shadow.lease_id, reason))
