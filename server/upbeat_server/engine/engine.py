"""The state of one namespace, and the few changes of it that everything else is made of.

``step.py`` is the only way in. Nothing here reads a clock, draws a random
number or waits: time and entropy come with the events, and what is to be done
about the outside world leaves as commands.

The rules that must not break:

- a task changes state in ``move`` only, by the table in ``task_machine.py``;
- whatever changed of a record is told to the store in the same turn (``persist``);
- a finished task is out of every structure here before the step returns.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from upbeat_server.engine import hedging, learned, pausing
from upbeat_server.engine.bus import restored as restored_bus
from upbeat_server.engine.bus.bus import Bus
from upbeat_server.engine.choice_policies import choice_of
from upbeat_server.engine.collaboration.expected import Expected
from upbeat_server.engine.collaboration.grades import Grades
from upbeat_server.engine.collaboration.rebuild import rebuild
from upbeat_server.engine.collaboration.width import live_max
from upbeat_server.engine.commands import AgentChanged, Persist, TaskFinished
from upbeat_server.engine.counters import Counters
from upbeat_server.engine.entropy import Entropy
from upbeat_server.engine.fleet import Fleet
from upbeat_server.engine.hedging import Hedges
from upbeat_server.engine.model import (
    EPOCH_SHIFT,
    FINISHED,
    Error,
    SessionId,
    TaskId,
    TaskState,
)
from upbeat_server.engine.predictor import Predictor
from upbeat_server.engine.queue import Queue, Signature, requirement_of
from upbeat_server.engine.quotas import Quotas
from upbeat_server.engine.sticky import Sticky
from upbeat_server.engine.task import Task
from upbeat_server.engine.task_machine import NEXT, TaskInput, next_state
from upbeat_server.engine.timers import WAKE_NEVER, Timers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.choice import Choice
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.collaboration.mode import Check, Mode
    from upbeat_server.engine.commands import Command
    from upbeat_server.engine.limits import Limits
    from upbeat_server.engine.model import Predicate, TaskRecord, TaskSpec

# Members of an enumeration are looked up slowly; these are asked for with every task.
PENDING, QUEUED = TaskState.PENDING, TaskState.QUEUED


class Engine:
    """Everything that one namespace holds in memory."""

    def __init__(
        self,
        namespace: str,
        limits: Limits,
        *,
        epoch: int,
        clock_ms: int,
        revision: int = 0,
    ) -> None:
        self.namespace = namespace
        self.limits = limits
        self.epoch = epoch
        self.clock_ms = clock_ms  # Engine time of the last event; never goes back.
        self.revision = revision  # Of the last change of any task.
        self.tasks: dict[TaskId, Task] = {}
        self.requests: dict[str, TaskId] = {}  # request_id, live and finished.
        self.dedup_keys: dict[str, TaskId] = {}
        self.queue_bytes = 0  # Of the specs of live tasks.
        self.queue = Queue()
        # Before the first epoch of a namespace there was nothing to know of.
        self.quotas = Quotas(self.queue, clock_ms if epoch > 1 else -WAKE_NEVER)
        self.fleet = Fleet(self.queue, limits.bounds.agent_unacked_bytes_max)
        self.timers = Timers()
        self.bus = Bus()
        self.predictor = Predictor()
        self.learned = learned.Learned()
        self.counters = Counters()
        self.entropy = Entropy(epoch)
        self.choice: Choice = choice_of(limits.choice, namespace, self.fleet, self.predictor, self.entropy)
        self.sticky = Sticky(self.fleet)
        self.hedges = Hedges()
        self.commands: list[Command] = []  # Of the step that runs.
        self.unsaid: list[Command] = []  # Of the restore, until the first step.
        # RUNNING tasks whose agent has not come back since the restart, by agent id.
        self.unadopted: dict[str, dict[TaskId, None]] = {}
        self.adoption_ends_ms = WAKE_NEVER
        self.purge_due_ms = clock_ms + limits.retention.purge_interval_ms
        # Signatures that have tasks which stepped aside.
        self.asides: dict[Signature, None] = {}
        # Signatures whose first task waits for a better agent than is free.
        self.held: dict[Signature, None] = {}
        # Collaborations: those that run, ends that their groups have not heard of (within a step
        # only), groups with something left to do, and what is compiled of the steps of each root.
        self.modes: Mapping[str, Mode] = limits.modes
        self.groups: dict[TaskId, Group] = {}
        self.ended: deque[Task] = deque()
        self.unsettled: list[Group] = []
        self.compiled: dict[TaskId, tuple[Mapping[str, Predicate], Mapping[str, Check]]] = {}
        self.expected = Expected()
        self.grades = Grades()
        self.children = 0  # Live tasks with a parent.
        self.reserved = 0  # Children that running collaborations may have live at once.
        self.is_copy = False  # Restored from a backup, and the doubts about it are not settled.
        self.turn_wanted_ms = 0  # A TurnEnded is wanted at this time for another reason than a timer.
        self._sequence = 0
        self._live_max: tuple[TaskSpec | None, int] = None, 0

    def restore(
        self,
        tasks: list[tuple[TaskRecord, TaskSpec, Predicate | None, int]],
        finished_requests: list[tuple[str, int]],
        *,
        members: Sequence[tuple[TaskRecord, TaskSpec]] = (),
        notes: Sequence[tuple[str, str, bytes]] = (),
        collaborations: Mapping[int, tuple[Mapping[str, Predicate], Mapping[str, Check]]] | None = None,
        is_copy: bool = False,
    ) -> None:
        """Take over what was durable. Once, before any step.

        ``tasks`` are the unfinished ones with their compiled selectors and the size of
        their stored spec in bytes. RUNNING ones keep their lease: their attempt's time
        stands still until the agent comes back or the adoption grace is over. ``members`` are
        finished tasks whose parent is unfinished, by id; ``notes`` are (kind, key, value) as
        ``PersistNote`` wrote them; ``collaborations`` what is compiled of the steps of each, by id:
        selectors and conditions by their text. ``is_copy``: what is unfinished here may have gone on
        elsewhere (``restored.py``).
        """
        self.is_copy = is_copy
        restored_bus.restore(self, notes, self.clock_ms)
        pausing.restore(self, notes)
        learned.restore(self, notes)
        for request_id, task_id in finished_requests:
            self.requests[request_id] = TaskId(task_id)
        for record, spec, predicate, spec_size in tasks:
            task = Task(record, spec, self.signature_of(spec, predicate))
            task.spec_size = spec_size
            self._enter(task)
            if spec.collaboration is not None:
                pass  # No agent holds it; see rebuild.
            elif record.state == TaskState.RUNNING:
                task.paused_ms = self.clock_ms
                agent_id = record.attempts[-1].agent_id
                self.unadopted.setdefault(agent_id, {})[task.task_id] = None
                if task.gate is not None:
                    self.quotas.adopt(task.gate, self.clock_ms)
            elif record.state == TaskState.QUEUED:
                self.queue.push(task, self.predictor.type_ms(spec.type))
            self.arm(task)
        self.grades.restore(notes)
        self.compiled = {TaskId(root_id): compiled for root_id, compiled in (collaborations or {}).items()}
        rebuild(self, members, self.clock_ms)
        self.unsaid, self.commands = self.commands, []

    @property
    def next_wake_ms(self) -> int:
        """When a TurnEnded is wanted at the latest."""
        timer_ms, bus_ms = self.timers.next_ms, self.bus.timers.next_ms
        return min(
            self.turn_wanted_ms or WAKE_NEVER,
            self.adoption_ends_ms,
            self.purge_due_ms,
            self.quotas.due_ms,
            self.learned.due_ms,
            WAKE_NEVER if timer_ms is None else timer_ms,
            WAKE_NEVER if bus_ms is None else bus_ms,
        )

    def next_id(self) -> int:
        """The next id of this epoch, for tasks and sessions."""
        self._sequence += 1
        return self.epoch << EPOCH_SHIFT | self._sequence

    def next_session(self) -> SessionId:
        """The id of a new session."""
        return SessionId(self.next_id())

    def signature_of(self, spec: TaskSpec, predicate: Predicate | None) -> Signature:
        """The signature of a spec, made if it is new. Does not count the task."""
        requirement = requirement_of(spec)
        signature = self.queue.signatures.get(requirement)
        if signature is None:
            signature = self.queue.idle.pop(requirement, None)
            if signature is None:
                signature = Signature(requirement, predicate)
                self.fleet.watch_for(signature)
            self.queue.signatures[requirement] = signature
        return signature

    def _enter(self, task: Task) -> None:
        """Make a task live."""
        record, spec, task_id = task.record, task.spec, task.task_id
        self.tasks[task_id] = task
        task.signature.live += 1
        if record.state == PENDING:
            task.signature.pending += 1
        self.queue_bytes += task.spec_size
        self.counters.live[record.state] += 1
        if record.request_id:
            self.requests[record.request_id] = task_id
        if spec.dedup_key:
            self.dedup_keys[spec.dedup_key] = task_id
        if spec.limits:
            task.gate = self.quotas.name(spec.limits, self.clock_ms)
        if spec.collaboration is not None and not record.parent_id:
            self.expected.enter(task_id, spec)

    def admit(self, task: Task, now_ms: int) -> None:
        """Make a submitted task live and durable. Its record is PENDING or QUEUED."""
        self._enter(task)
        self.counters.submitted += 1
        record, spec = task.record, task.spec
        if record.state != QUEUED:
            self.arm(task)
        else:
            record.queued_since_ms = now_ms
            self.queue.push(task, self.predictor.type_ms(spec.type))
            if spec.queue_timeout_ms or spec.total_timeout_ms:
                self.arm(task)
        self.persist(task)

    def persist(self, task: Task) -> None:
        """What changed of the record becomes durable with this turn, under a new revision."""
        self.revision += 1
        task.record.revision = self.revision
        self.commands.append(Persist(task))

    def live_max(self, spec: TaskSpec) -> int:
        """Descendants of a collaboration that may be live at once."""
        if self._live_max[0] is not spec:  # It is asked for twice: at the door, and when it begins.
            self._live_max = spec, live_max(spec, self.modes)
        return self._live_max[1]

    def move(self, task: Task, task_input: TaskInput, now_ms: int) -> TaskState:
        """The one way a task changes state: by the table, with its queue, timer and counters."""
        record = task.record
        before = record.state
        after = NEXT.get((before, task_input)) or next_state(before, task_input)
        if task.queue_stamp:
            self.queue.remove(task)
        elif before == QUEUED:
            del task.signature.aside[task]
        elif before == PENDING:
            task.signature.pending -= 1
        record.state = after
        live = self.counters.live
        live[before] -= 1
        if after in FINISHED:
            record.end_ms = now_ms
            self.counters.finished[after] += 1
            self._leave(task)
            self.persist(task)
            self.commands.append(TaskFinished(task))
            if task.member_of is not None:
                self.ended.append(task)
            return after
        live[after] += 1
        if after == QUEUED:
            record.queued_since_ms = now_ms
            record.eligible_ms = 0
            self.queue.push(task, self.predictor.type_ms(task.spec.type))
        elif after == PENDING:
            task.signature.pending += 1
        self.arm(task)
        self.persist(task)
        return after

    def _leave(self, task: Task) -> None:
        """A finished task leaves memory; the store answers for it from now on."""
        spec = task.spec
        if task.timer_ms:
            self.timers.clear(task.task_id, task.timer_ms)
            task.timer_ms = 0
        del self.tasks[task.task_id]
        self.queue_bytes -= task.spec_size
        if task.member_of is not None:
            self.children -= 1
        if spec.dedup_key:
            del self.dedup_keys[spec.dedup_key]
        if task.gate is not None:
            self.quotas.unname(task.gate, spec.limits, self.clock_ms)
        if task.shadow is not None:
            hedging.drop(self, task, self.clock_ms)
        if spec.collaboration is not None:
            self.compiled.pop(task.task_id, None)
            if not task.record.parent_id:
                self.expected.leave(task.task_id)
        signature = task.signature
        signature.live -= 1
        if not signature.live:
            forgotten = self.queue.rest(signature)
            if forgotten is not None:
                self.fleet.unwatch(forgotten)
                forgotten.lanes.clear()  # They know it as well: nothing is left to the collector.

    def fail(self, task: Task, error: Error, now_ms: int) -> None:
        """End a task as FAILED."""
        task.record.error = error
        self.move(task, TaskInput.FAIL, now_ms)

    def arm(self, task: Task) -> None:
        """Set the task's one timer to whatever comes first for it."""
        if task.timer_ms:
            self.timers.clear(task.task_id, task.timer_ms)
            task.timer_ms = 0
        due_ms = self.due_ms(task)
        if due_ms:
            task.timer_ms = self.timers.set(task.task_id, due_ms)

    def disarm(self, task: Task) -> None:
        """Clear the task's timer."""
        if task.timer_ms:
            self.timers.clear(task.task_id, task.timer_ms)
            task.timer_ms = 0

    def due_ms(self, task: Task) -> int:
        """When something has to happen to the task by itself; 0 for never."""
        record, spec = task.record, task.spec
        state = record.state
        due_ms = 0
        if state == QUEUED:
            if spec.queue_timeout_ms:
                due_ms = record.queued_since_ms + spec.queue_timeout_ms
                if task.shadow is not None:  # It does not only wait: an agent works on it.
                    due_ms = max(due_ms, task.shadow.deadline_ms)
        elif state == PENDING:
            due_ms = record.eligible_ms
        elif spec.collaboration is not None:
            if task.group is not None:
                due_ms = task.group.wake_ms
        elif not task.paused_ms:
            due_ms, other_ms = record.attempt_deadline_ms, task.ack_due_ms
            if other_ms and other_ms < due_ms:
                due_ms = other_ms
        if spec.total_timeout_ms:
            other_ms = record.create_ms + spec.total_timeout_ms
            if not due_ms or other_ms < due_ms:
                due_ms = other_ms
        if task.shadow is not None and (not due_ms or task.shadow.deadline_ms < due_ms):
            due_ms = task.shadow.deadline_ms
        return due_ms

    def arm_agent(self, agent: Agent, due_ms: int) -> None:
        """Set the agent's one timer; 0 clears it."""
        if agent.timer_ms:
            self.timers.clear(-agent.index, agent.timer_ms)
            agent.timer_ms = 0
        if due_ms:
            agent.timer_ms = self.timers.set(-agent.index, due_ms)

    def agent_changed(self, agent: Agent) -> None:
        """Tell whoever watches agents."""
        self.commands.append(AgentChanged(agent))
