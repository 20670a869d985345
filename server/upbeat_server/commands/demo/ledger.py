"""Was anything lost? Answered from the server's record of every task, not from what the demo remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from upbeat import Task, TaskState

_COMPLETED = "COMPLETED"


@dataclass
class Spread:
    """A set of times in seconds."""

    samples: list[float] = field(default_factory=list)

    def at(self, share: float) -> float:
        """The time that this share of the samples does not exceed; 0 without samples."""
        if not self.samples:
            return 0.0
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class TypeRecord:
    """What the server recorded of one task type."""

    priority: str = ""
    tasks: int = 0
    waits: Spread = field(default_factory=Spread)
    runs: Spread = field(default_factory=Spread)


@dataclass
class AgentRecord:
    """What the server recorded of one agent: its attempts by outcome, and the time in accepted ones."""

    outcomes: Counter[str] = field(default_factory=Counter)
    busy_s: float = 0.0
    types: Counter[str] = field(default_factory=Counter)


@dataclass
class Ledger:
    """The tasks of a run as the server has them."""

    tasks: int = 0
    states: Counter[str] = field(default_factory=Counter)
    types: dict[str, TypeRecord] = field(default_factory=dict)
    agents: dict[str, AgentRecord] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    repeated: int = 0  # Tasks that took more than one attempt.
    missing: list[str] = field(default_factory=list)  # Acknowledged, but not there.
    unknown: list[str] = field(default_factory=list)  # There, but never acknowledged to us.
    unfinished: list[str] = field(default_factory=list)
    not_once: list[str] = field(default_factory=list)  # Without exactly one accepted result.

    @property
    def is_complete(self) -> bool:
        """Every submission acknowledged is there, has ended, and has exactly one accepted result."""
        return not (self.missing or self.unknown or self.unfinished or self.not_once)


def account(tasks: Iterable[Task], acknowledged: set[str]) -> Ledger:
    """The ledger of ``tasks``, held against the ids that were acknowledged."""
    ledger = Ledger()
    seen: set[str] = set()
    for task in tasks:
        if task.task_id in seen:  # A page may repeat a task that changed in between.
            continue
        seen.add(task.task_id)
        _enter(ledger, task)
    ledger.missing = sorted(acknowledged - seen)
    ledger.unknown = sorted(seen - acknowledged)
    return ledger


def _enter(ledger: Ledger, task: Task) -> None:
    ledger.tasks += 1
    ledger.states[task.state] += 1
    ledger.repeated += task.attempt_count > 1
    if not task.state.is_final:
        ledger.unfinished.append(task.task_id)
    accepted = sum(attempt.outcome == _COMPLETED for attempt in task.attempts)
    if (task.state is TaskState.COMPLETED and accepted != 1) or task.state is not TaskState.COMPLETED:
        ledger.not_once.append(task.task_id)
    record = ledger.types.setdefault(task.type, TypeRecord(task.priority))
    record.tasks += 1
    if task.create_time and task.start_time:
        record.waits.samples.append((task.start_time - task.create_time).total_seconds())
    for attempt in task.attempts:
        outcome = attempt.outcome or "RUNNING"
        took_s = 0.0
        if attempt.start_time and attempt.end_time:
            took_s = (attempt.end_time - attempt.start_time).total_seconds()
        agent = ledger.agents.setdefault(attempt.agent_id, AgentRecord())
        agent.outcomes[outcome] += 1
        agent.types[task.type] += 1
        ledger.outcomes[outcome] += 1
        if outcome == _COMPLETED:
            record.runs.samples.append(took_s)
            agent.busy_s += took_s
