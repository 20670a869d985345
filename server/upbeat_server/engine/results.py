"""Results: each is accepted once, iff its agent has the right to report it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import hedging, leases, reasons
from upbeat_server.engine.commands import AckResult, ResolveResult
from upbeat_server.engine.model import AttemptOutcome, Error, ResultOutcome, attempt_of, task_of
from upbeat_server.engine.task_machine import TaskInput

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import AttemptEnded
    from upbeat_server.engine.model import TaskRecord
    from upbeat_server.engine.task import Task

# Members of an enumeration are looked up slowly; these are asked for with every result.
COMPLETE = TaskInput.COMPLETE
COMPLETED = AttemptOutcome.COMPLETED
ACCEPTED, REJECTED = ResultOutcome.ACCEPTED, ResultOutcome.REJECTED


def report(engine: Engine, agent: Agent, results: list[AttemptEnded], now_ms: int) -> None:
    """Results: each is accepted once, iff its lease is the task's current one and this agent holds it."""
    held, commands, session_id = agent.leases, engine.commands, agent.session_id
    for ended in results:
        lease_id = ended.lease_id
        task = held.get(lease_id)
        if task is None:
            _report_late(engine, agent, ended, now_ms)
            continue
        del held[lease_id]
        _accept(engine, task, agent, ended, now_ms)
        if ended.rejected:
            commands.append(AckResult(session_id, lease_id, REJECTED, ended.error))
        else:
            commands.append(AckResult(session_id, lease_id, ACCEPTED))
    engine.fleet.refresh(agent)


def _report_late(engine: Engine, agent: Agent, ended: AttemptEnded, now_ms: int) -> None:
    """A result whose lease is no longer a current one of the agent."""
    lease_id = ended.lease_id
    if lease_id in agent.leases:
        leases.free(engine, agent, lease_id)
    live = engine.tasks.get(task_of(lease_id))  # type: ignore[arg-type]
    if live is None:
        engine.commands.append(ResolveResult(agent.session_id, lease_id, agent.agent_id))
        return
    if live.shadow is not None and hedging.report(engine, live, agent, ended, now_ms):
        return
    outcome = late_outcome(live.record, lease_id, agent.agent_id)
    engine.commands.append(AckResult(agent.session_id, lease_id, outcome))


def late_outcome(record: TaskRecord, lease_id: int, agent_id: str) -> ResultOutcome:
    """What a result is told whose lease is not (or no longer) a current one of the agent."""
    attempt = attempt_of(lease_id)  # type: ignore[arg-type]
    if not 1 <= attempt <= record.attempt:
        return ResultOutcome.UNKNOWN
    reported = (AttemptOutcome.COMPLETED, AttemptOutcome.FAILED)
    for past in record.attempts:
        if past.attempt == attempt and past.agent_id == agent_id and past.outcome in reported:
            return ResultOutcome.ACCEPTED
    return ResultOutcome.STALE


def _accept(engine: Engine, task: Task, agent: Agent, ended: AttemptEnded, now_ms: int) -> None:
    record = task.record
    if ended.usage is not None:
        record.usage = record.usage.plus(ended.usage)
    if ended.output is not None and not ended.rejected:
        agent.completed += 1
        record.output = ended.output
        if record.error is not None:
            record.error = None
        record.accepted_attempt = record.attempt
        leases.end_attempt(engine, task, COMPLETED, None, now_ms)
        engine.move(task, COMPLETE, now_ms)
        return
    error = ended.error or Error(reasons.INVALID_RESULT, "the result had neither output nor error")
    agent.failed += error.reason != reasons.ABSTAINED  # To abstain is no failure of the agent's.
    leases.end_attempt(engine, task, AttemptOutcome.FAILED, error, now_ms)
    leases.charge_failure(engine, task, error, now_ms)
