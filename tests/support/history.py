"""What must hold over the life of an engine, seen from outside: the story of its orders.

``invariants.check`` looks at one state; this looks at the way between states, over
restarts too. Nothing here knows how the engine does it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.support.quota_ledger import QuotaLedger
from upbeat_server.engine.commands import AckResult, Assign, Persist, Submitted, TaskFinished, Welcome
from upbeat_server.engine.events import AgentConnected, AgentFrame, TasksPurged, TurnEnded
from upbeat_server.engine.model import (
    FINISHED,
    AgentState,
    AttemptOutcome,
    ResultOutcome,
    SideEffects,
    TaskState,
    attempt_of,
    task_of,
)
from upbeat_server.engine.timers import BUCKET_MS

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.commands import Command
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import Event
    from upbeat_server.engine.task import Task


class History:
    """Follows an engine step by step and asserts."""

    def __init__(self) -> None:
        self.attempts: dict[int, int] = {}  # By task, the last one granted.
        self.finished: dict[int, int] = {}  # State in which a task ended.
        self.requests: dict[str, int] = {}
        self.eligible_ms: dict[int, int] = {}
        self.revision = 0
        self.agents: dict[int, str] = {}  # By session.
        self.accepted: set[tuple[int, str]] = set()  # (lease, agent)
        self.began: dict[int, str] = {}  # UNSAFE task to the agent that acts on it.
        self.counts: Counter[str] = Counter()
        self.quotas = QuotaLedger()

    def restarted(self) -> None:
        """The server was killed between two turns."""
        self.counts["restart"] += 1

    def note(self, engine: Engine, event: Event, commands: list[Command]) -> None:
        """One step was made."""
        if isinstance(event, AgentFrame | AgentConnected):
            self._note_beginnings(engine, event)
        if isinstance(event, TasksPurged):
            for request_id in event.request_ids:
                if self.requests.get(request_id) in self.finished:
                    del self.requests[request_id]
        granted: Counter[str] = Counter()
        for command in commands:
            match command:
                case Persist():
                    self._note_persist(engine, command.task)
                case Assign():
                    agent = engine.fleet.sessions[command.session_id]
                    granted[agent.agent_id] += 1
                    self._note_grant(engine, agent, command)
                case TaskFinished():
                    self._note_finish(command.task)
                case AckResult(outcome=ResultOutcome.ACCEPTED):
                    self._note_accepted(command.lease_id, self.agents[command.session_id])
                case Welcome():
                    self.agents[command.session_id] = engine.fleet.sessions[command.session_id].agent_id
                case Submitted():
                    request_id = command.task.record.request_id
                    if request_id:
                        assert self.requests.setdefault(request_id, command.task.task_id) == (
                            command.task.task_id
                        )
        if granted:
            self._check_slots(engine, granted)
            self._check_order(engine, commands, granted)
        self.revision = engine.revision
        if isinstance(event, TurnEnded):
            self._check_clocks(engine)

    def _note_beginnings(self, engine: Engine, event: AgentFrame | AgentConnected) -> None:
        """An agent that acknowledged, reported or brought back UNSAFE work acts on it."""
        if isinstance(event, AgentConnected):
            name, leases = event.agent_id, list(event.held_leases)
        else:
            if event.session_id not in engine.fleet.sessions and not event.goodbye:
                return
            agent = engine.fleet.sessions.get(event.session_id)
            if agent is None:
                return
            name = agent.agent_id
            leases = [ack.lease_id for ack in event.acks if ack.accepted]
            leases += [said.lease_id for said in event.progress]
        for lease_id in leases:
            task = engine.tasks.get(task_of(lease_id))  # type: ignore[arg-type]
            if task is None or task.spec.side_effects != SideEffects.UNSAFE:
                continue
            attempt = attempt_of(lease_id)  # type: ignore[arg-type]
            held = [past for past in task.record.attempts if past.attempt == attempt]
            if held and held[0].agent_id == name and held[0].outcome == AttemptOutcome.RUNNING:
                assert self.began.setdefault(task.task_id, name) == name

    def _note_persist(self, engine: Engine, task: Task) -> None:
        record = task.record
        assert self.revision < record.revision <= engine.revision, "a change without a new revision"
        before = self.finished.get(task.task_id)
        assert before is None or before == record.state, "a finished task changed"
        if record.state == TaskState.PENDING:
            self.eligible_ms[task.task_id] = record.eligible_ms

    def _note_grant(self, engine: Engine, agent: Agent, command: Assign) -> None:
        task = command.task
        attempt = attempt_of(command.lease_id)
        assert task.task_id not in self.finished, "a finished task was assigned"
        assert attempt == self.attempts.get(task.task_id, 0) + 1, "attempts have gaps"
        assert attempt == task.record.attempt, "an older lease was granted"
        assert task.task_id not in self.began, "UNSAFE work went to a second agent"
        assert agent.state is AgentState.CONNECTED
        assert {task.spec.type, *task.spec.required_capabilities} <= agent.capabilities
        assert task.signature.predicate is None or task.signature.predicate(agent.labels)
        assert engine.clock_ms >= self.eligible_ms.get(task.task_id, 0), "before its time"
        assert engine.clock_ms >= task.spec.not_before_ms, "before its time"
        self.attempts[task.task_id] = attempt
        self.counts["grant"] += 1
        if task.spec.limits:
            assert self.quotas.granted(engine, task) == []

    def _note_finish(self, task: Task) -> None:
        record = task.record
        assert record.state in FINISHED
        assert task.task_id not in self.finished, "a task finished twice"
        self.finished[task.task_id] = record.state
        if record.parent_id:
            assert record.parent_id not in self.finished, "a child ended after its collaboration"
        completed = [past for past in record.attempts if past.outcome == AttemptOutcome.COMPLETED]
        if task.spec.collaboration is None:
            assert len(completed) == (record.state == TaskState.COMPLETED)
        assert record.failures <= task.spec.retry.max_attempts
        if record.state == TaskState.COMPLETED:
            assert record.output is not None
            assert record.error is None
            assert completed[0].attempt == record.accepted_attempt if completed else not record.attempt
        else:
            assert record.error is not None
        self.counts[TaskState(record.state).name] += 1

    def _note_accepted(self, lease_id: int, agent_id: str) -> None:
        """A lease is accepted from one agent only; a repeat is told the same."""
        others = {agent for lease, agent in self.accepted if lease == lease_id}
        assert others <= {agent_id}
        self.accepted.add((lease_id, agent_id))

    def _check_slots(self, engine: Engine, granted: Counter[str]) -> None:
        for agent_id in granted:
            agent = engine.fleet.agents[agent_id]
            assert agent.in_use <= agent.slots, f"{agent_id} got more than it has room for"

    def _check_order(self, engine: Engine, commands: list[Command], granted: Counter[str]) -> None:
        """Nothing that waits should have gone first to an agent that got something."""
        waiting = [task for task in engine.tasks.values() if task.queue_stamp]
        if not waiting:
            return
        turns = {name: engine.fleet.agents[name].turn - count for name, count in granted.items()}
        for command in commands:
            if not isinstance(command, Assign):
                continue
            agent = engine.fleet.sessions[command.session_id]
            overdue_turn = (turns[agent.agent_id] + agent.index) % engine.limits.ordering.overdue_turn == 0
            turns[agent.agent_id] += 1
            self._check_grant(agent, command.task, waiting, overdue_turn=overdue_turn)

    def _check_grant(self, agent: Agent, task: Task, waiting: list[Task], *, overdue_turn: bool) -> None:
        for other in waiting:
            if agent.profile not in other.signature.profiles or other.signature.is_paused:
                continue
            if other.gate is not None and other.gate.blocker() is not None:
                continue
            if other.spec.priority > task.spec.priority:
                assert overdue_turn, "a lower class passed a higher one"
            same = (
                other.signature is task.signature
                and other.spec.priority == task.spec.priority
                and other.spec.fairness_key == task.spec.fairness_key
                and not other.spec.total_timeout_ms
                and not task.spec.total_timeout_ms
            )
            if same:
                assert _place(task) < _place(other), "a later task of a key passed an earlier one"

    def _check_clocks(self, engine: Engine) -> None:
        for task in engine.tasks.values():
            due_ms = engine.due_ms(task)
            assert not due_ms or due_ms > engine.clock_ms - BUCKET_MS, "its time has passed"


def _place(task: Task) -> tuple[int, int]:
    """When a task, or the collaboration that it is a child of, was submitted."""
    return task.record.submit_ms or task.record.create_ms, task.task_id
