"""The engine under watch: its invariants after every step, and at every lease who should have been first.

Nothing here asks the queue or the fleet of the engine: who waits is read from the tasks,
who can do what from what agents said of themselves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.quota_ledger import QuotaLedger
from upbeat_server.engine import commands, invariants, leases
from upbeat_server.engine.events import AgentFrame, TaskCancelled, TurnEnded
from upbeat_server.engine.model import AgentState, ResultOutcome, TaskState, task_of
from upbeat_server.runtime import loop as loop_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import Event
    from upbeat_server.engine.task import Task

runtime_loop: Any = loop_module  # Whose step is replaced.
OVERDUE_FIELDS = {1: "overdue_low_ms", 2: "overdue_normal_ms", 3: "overdue_high_ms"}


class Order:
    """Looks over the shoulder of every engine of a run."""

    def __init__(
        self, fail: Callable[[int, str], None], trace: Callable[[str], None], *, is_fair: bool
    ) -> None:
        self._fail = fail
        self._trace = trace
        self._shares = Shares(fail) if is_fair else None
        self._cancels: set[int] = set()
        self._results: set[int] = set()
        self._nested_decided = False  # In this turn.
        self._hedges: dict[tuple[str, int], int] = {}  # By namespace and epoch.
        self._stopped: set[tuple[int, int]] = set()  # Sessions and the leases that they were told to stop.
        self.counts: Counter[str] = Counter()
        self.paused: set[str] = set()  # Types whose pause was answered and is not over.
        self._quotas = QuotaLedger()
        self.when_sent: Callable[[commands.Deliver], None] = lambda _command: None
        self.engines: dict[str, Engine] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Every step and every lease goes by here."""
        real_step, real_grant, real_end = runtime_loop.step, leases.grant, leases.end_attempt

        def step(engine: Engine, event: Event, now_ms: int) -> list[commands.Command]:
            self._quotas.lives(engine)
            answered: list[commands.Command] = real_step(engine, event, now_ms)
            self._stepped(engine, event, answered)
            return answered

        def grant(engine: Engine, task: Task, agent: Agent, now_ms: int) -> None:
            self._before_grant(engine, task, agent, now_ms)
            real_grant(engine, task, agent, now_ms)
            if task.spec.limits:
                self.counts["limited"] += 1
                for words in self._quotas.granted(engine, task):
                    self._fail(16, words)
            if len(agent.leases) > agent.slots:
                self._fail(4, f"{agent.agent_id} has {len(agent.leases)} leases and {agent.slots} slots")
            if self._shares is not None:
                self._shares.granted(engine, task)

        def end_attempt(engine: Engine, task: Task, outcome: Any, error: Any, now_ms: int) -> None:
            if self._shares is not None:
                self._shares.ended(task, now_ms)
            real_end(engine, task, outcome, error, now_ms)

        runtime_loop.step, leases.grant, leases.end_attempt = step, grant, end_attempt
        try:
            yield
        finally:
            runtime_loop.step, leases.grant, leases.end_attempt = real_step, real_grant, real_end

    def _stepped(self, engine: Engine, event: Event, answered: list[commands.Command]) -> None:
        self.engines[engine.namespace] = engine
        self.counts["steps"] += 1
        self._trace(f"{engine.clock_ms} {type(event).__name__} {len(answered)}")
        for words in invariants.check(engine):
            self._fail(0, words)
        lives = engine.namespace, engine.epoch
        self.counts["hedge launched"] += engine.counters.hedges - self._hedges.get(lives, 0)
        self._hedges[lives] = engine.counters.hedges
        match event:
            case TaskCancelled():
                self._cancels.add(event.task_id)
            case AgentFrame():
                self._results.update(task_of(ended.lease_id) for ended in event.results)  # type: ignore[arg-type]
            case TurnEnded():
                self.counts["turns"] += 1
                if self._cancels & self._results:
                    self.counts["cancel meets result"] += 1
                if self._cancels and self._nested_decided:
                    self.counts["nested decision in the turn of a cancel"] += 1
                self._nested_decided = False
                self._cancels.clear()
                self._results.clear()
        for command in answered:
            self._count(command)
        self._check_stops(engine, answered)

    def _check_stops(self, engine: Engine, answered: list[commands.Command]) -> None:
        """An agent whose task moved on was told, unless what it does may still complete the task (17)."""
        stopped = self._stopped
        stopped.update(
            (command.session_id, command.lease_id)
            for command in answered
            if isinstance(command, commands.CancelAttempt)
        )
        for agent in engine.fleet.agents.values():
            for lease_id, task in agent.leases.items():
                if task is not None or (agent.session_id, lease_id) in stopped:
                    continue
                live = engine.tasks.get(task_of(lease_id))  # type: ignore[arg-type]
                shadow = None if live is None else live.shadow
                if shadow is None or shadow.lease_id != lease_id or shadow.agent is not agent:
                    self._fail(17, f"{agent.agent_id} was not told to stop {lease_id:020x}")

    def _count(self, command: commands.Command) -> None:
        counts = self.counts
        match command:
            case commands.AckResult():
                counts[f"result {ResultOutcome(command.outcome).name}"] += 1
            case commands.SubmissionRefused():
                counts[f"refused {command.refusal.reason}"] += 1
            case commands.EndSession():
                counts[f"session ended {command.reason or 'in peace'}"] += 1
            case commands.CancelAttempt():
                counts[f"attempt cancelled {command.reason}"] += 1
            case commands.Welcome():
                counts["session resumed" if command.resumed else "session opened"] += 1
                counts["lease dropped"] += len(command.dropped_leases)
            case commands.TaskFinished():
                record = command.task.record
                has_decided = record.state != TaskState.CANCELLED and record.group is not None
                self._nested_decided |= has_decided and bool(record.parent_id)
                reason = record.error.reason if record.error is not None else ""
                counts[f"{TaskState(record.state).name} {reason}".strip()] += 1
            case commands.Deliver():
                self.when_sent(command)
            case commands.Persist() | commands.AgentChanged():
                pass
            case _:
                counts[type(command).__name__] += 1

    def _before_grant(self, engine: Engine, task: Task, agent: Agent, now_ms: int) -> None:
        name = f"task {task.task_id:016x}"
        if task.spec.collaboration is not None:
            self._fail(13, f"{name} is a collaboration and went to {agent.agent_id}")
        if agent.state is not AgentState.CONNECTED or agent.drain_wanted:
            self._fail(4, f"{name} went to {agent.agent_id}, which is {agent.state.name}")
        if not can_do(agent, task):
            self._fail(4, f"{name} went to {agent.agent_id}, which does not offer what it needs")
        if task.spec.type in self.paused:
            self._fail(16, f"{name} was handed out although its type is paused")
        ordering = engine.limits.ordering
        is_turn = (agent.turn + agent.index) % ordering.overdue_turn == 0
        overdue_ms = getattr(ordering, OVERDUE_FIELDS.get(task.spec.priority, ""), None)
        if is_turn and overdue_ms is not None and task.record.queued_since_ms + overdue_ms < now_ms:
            self.counts["overdue lane"] += 1
            return
        for other in engine.tasks.values():
            if other is task or not other.queue_stamp or not can_do(agent, other):
                continue
            if agent.agent_id in other.record.failed_agents or other.rejections:
                continue
            if _has_seat(agent, other) or _is_held_back(other) or other.signature in engine.held:
                continue  # What waits for a better agent leaves this one to others.
            if other.spec.priority > task.spec.priority:
                self._fail(7, f"{name} passed {other.task_id:016x} of a higher class on {agent.agent_id}")
            elif _is_behind(other, task):
                self._fail(7, f"{name} passed {other.task_id:016x}, which came first, on {agent.agent_id}")


def can_do(agent: Agent, task: Task) -> bool:
    """Whether the agent offers what the task requires, by their own words."""
    spec = task.spec
    if not agent.capabilities.issuperset((spec.type, *spec.required_capabilities)):
        return False
    predicate = task.signature.predicate
    return predicate is None or predicate(agent.labels)


def _is_behind(first: Task, second: Task) -> bool:
    """Whether ``second`` goes although ``first``, of the same key and requirement, came before it."""
    one, other = first.spec, second.spec
    if first.signature is not second.signature or one.priority != other.priority:
        return False
    if one.fairness_key != other.fairness_key or one.total_timeout_ms or other.total_timeout_ms:
        return False
    return _place(first) < _place(second)


def _place(task: Task) -> tuple[int, int]:
    """When a task, or the collaboration that it is a child of, was submitted."""
    return task.record.submit_ms or task.record.create_ms, task.task_id


def _is_held_back(task: Task) -> bool:
    """Whether a pause or a limit holds it; that they do so rightly is told by other means."""
    return task.signature.is_paused or (task.gate is not None and task.gate.blocker() is not None)


def _has_seat(agent: Agent, task: Task) -> bool:
    """Whether the agent works, or worked, on a sibling of the same panel."""
    group = task.member_of
    return group is not None and agent.agent_id in group.taken_seats(task.record.member)


class Shares:
    """What each fairness key got while others waited.

    The bound of start-time fair queueing (Goyal, Vin, Cheng, 1996, theorem 1): over any
    stretch in which two keys are backlogged, what they got, each divided by its weight,
    differs by no more than the largest pieces of both - here plus what is running, whose
    length is only guessed when it is handed out.
    """

    def __init__(self, fail: Callable[[int, str], None]) -> None:
        self._fail = fail
        self._got_ms: defaultdict[tuple[int, str], float] = defaultdict(float)
        self._paid_ms: dict[int, float] = {}
        # What all had got when a key began to wait, with a number that tells which began later.
        self._since: dict[tuple[int, str], tuple[int, dict[tuple[int, str], float]]] = {}
        self._grants = 0
        self._largest_ms = 1_000.0
        self._epoch = 0

    def granted(self, engine: Engine, task: Task) -> None:
        """A task was handed out while these others wait."""
        if engine.epoch != self._epoch:  # What a key got is not durable.
            self._epoch = engine.epoch
            self._since.clear()
        waiting = {_key(other) for other in engine.tasks.values() if other.queue_stamp}
        for key in list(self._since):
            if key not in waiting:
                del self._since[key]
        for key in waiting:
            self._since.setdefault(key, (self._grants, dict(self._got_ms)))
        self._grants += 1
        piece_ms = task.charged_ms / task.spec.fairness_weight
        self._largest_ms = max(self._largest_ms, piece_ms)
        mine = _key(task)
        self._got_ms[mine] += piece_ms
        self._paid_ms[task.task_id] = piece_ms
        slots = sum(agent.slots for agent in engine.fleet.agents.values() if agent.session_id or agent.leases)
        bound_ms = (slots + 3) * self._largest_ms
        for key, since in self._since.items():
            if key == mine or key[0] != mine[0] or mine not in self._since:
                continue
            at = max(since, self._since[mine], key=_beginning)[1]  # Since both have waited.
            ahead_ms = self._got_ms[mine] - at.get(mine, 0.0) - (self._got_ms[key] - at.get(key, 0.0))
            if ahead_ms > bound_ms:
                words = f"{mine[1]!r} got {ahead_ms:.0f} ms more than {key[1]!r}, which waited all the while"
                self._fail(7, f"{words}; the bound is {bound_ms:.0f} ms")

    def ended(self, task: Task, now_ms: int) -> None:
        """An attempt ended: what it really took counts."""
        paid_ms = self._paid_ms.pop(task.task_id, None)
        if paid_ms is not None and task.record.attempts:
            ran_ms = (now_ms - task.record.attempts[-1].start_ms) / task.spec.fairness_weight
            self._largest_ms = max(self._largest_ms, ran_ms)
            self._got_ms[_key(task)] += ran_ms - paid_ms


def _beginning(since: tuple[int, dict[tuple[int, str], float]]) -> int:
    return since[0]


def _key(task: Task) -> tuple[int, str]:
    return task.spec.priority, task.spec.fairness_key
