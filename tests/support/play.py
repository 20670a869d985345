"""A dialogue with an engine: facts in with ``>>``, orders out with ``<<``.

    play >> submit("t1") >> hello("a1")
    play << "assign t1.1 to a1"
    play.at(10_000) << "stop t1.1 at a1: NOT_ACKNOWLEDGED"

Names are short: a task is what ``submit`` called it, an agent its id, and a lease is
its task and attempt, ``t1.1``; a child is ``t1/step/0`` of the collaboration ``t1``.
Every input is a turn of its own unless ``together`` says otherwise. Rules:

- nothing but ``step`` changes the engine;
- after every step the invariants hold, and what is persisted survives its codec;
- orders are read in the order in which they were given, but for those in ``QUIET``;
  what nobody read when the play is over is an error (``skip`` reads without looking).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

from tests.support.history import History
from tests.support.orders import words_of
from upbeat_server.engine import invariants
from upbeat_server.engine.agent import Agent
from upbeat_server.engine.collaboration.mode import Mode
from upbeat_server.engine.collaboration.steps import steps_of
from upbeat_server.engine.commands import (
    AgentChanged,
    Assign,
    Command,
    Persist,
    PersistNote,
    PurgeFinished,
    Submitted,
    Welcome,
)
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.events import Event, TurnEnded
from upbeat_server.engine.limits import Limits
from upbeat_server.engine.model import (
    FINISHED,
    Labels,
    LeaseId,
    Predicate,
    SessionId,
    TaskId,
    TaskSpec,
    lease_of,
)
from upbeat_server.engine.note_rules import violations as note_violations
from upbeat_server.engine.record_rules import violations
from upbeat_server.engine.step import step
from upbeat_server.engine.task import Task
from upbeat_server.store.codec import decode_record, decode_spec, encode_record, encode_spec

Line: TypeAlias = "Callable[[Play], Event]"
"""One input, to be made when its turn comes and the names in it are known."""

CommandT = TypeVar("CommandT")

START_MS = 1_000_000
WAKES_MAX = 1_000
"""Turns that may follow each other at one time."""

QUIET = (Persist, PersistNote, Submitted, Welcome, AgentChanged, PurgeFinished)
"""Orders that a dialogue does not read; ``heard`` finds them."""

UNKNOWN_TASK = TaskId(0xBAD)


def compiled(selector: str) -> Predicate | None:
    """``"region=eu"`` as a predicate; "" matches all."""
    if not selector:
        return None
    key, _, value = selector.partition("=")

    def matches(labels: Labels) -> bool:
        return labels.get(key) == value

    return matches


def selectors_of(spec: TaskSpec) -> dict[str, Predicate]:
    """The selectors of all steps of a spec, compiled."""
    found = {step.selector: compiled(step.selector) for step in steps_of(spec)}
    return {selector: predicate for selector, predicate in found.items() if predicate is not None}


class Play:
    """An engine on a stage, with its own time in ms since the beginning."""

    def __init__(self, limits: Limits | None = None, modes: Mapping[str, Mode] | None = None) -> None:
        self.limits = msgspec.structs.replace(limits or Limits(), modes=modes or {})
        self.engine = Engine("stage", self.limits, epoch=1, clock_ms=START_MS)
        self.now_ms = 0
        self.bits = 0  # Entropy of the next turn.
        self.pressure = 0.0  # Share of its time that the server has worked.
        self.tasks: dict[str, TaskId] = {}
        self.names: dict[int, str] = {}  # Of tasks, by id.
        self.sessions: dict[str, SessionId] = {}  # The last one of each agent.
        self.agents_of: dict[int, str] = {}  # By session.
        self.holders: dict[int, str] = {}  # Who was assigned a lease.
        self.answers: list[str] = []  # What ``submit`` named, by origin.
        self.heard_last: list[Command] = []  # All of the last turn.
        self.unread: list[Command] = []
        self.history = History()
        self.dirty: dict[TaskId, Task] = {}
        self.durable: dict[TaskId, tuple[bytes, bytes]] = {}
        self.changed_notes: dict[tuple[str, str], bytes | None] = {}
        self.notes: dict[tuple[str, str], bytes] = {}  # Durable ones.

    # What goes in.

    def __rshift__(self, line: Line) -> Play:
        return self.together(line)

    def together(self, *lines: Line) -> Play:
        """Several inputs in one turn."""
        self.heard_last = []
        for line in lines:
            self.tell(line(self))
        return self.end_turn()

    def tell(self, event: Event) -> list[Command]:
        """One step, with everything that must hold after it."""
        commands = step(self.engine, event, START_MS + self.now_ms)
        self._learn_names(commands)
        self.history.note(self.engine, event, commands)
        return self._take(commands)

    def change(self, change: Callable[[Engine], object]) -> Play:
        """What another room of the engine would do within a step; then the turn ends."""
        self.heard_last = []
        self.engine.commands = []
        change(self.engine)
        self._learn_names(self.engine.commands)
        self._take(self.engine.commands)
        return self.end_turn()

    def _take(self, commands: list[Command]) -> list[Command]:
        assert invariants.check(self.engine) == []
        for command in commands:
            if isinstance(command, Persist):
                task = command.task
                self.dirty[task.task_id] = task
                assert decode_record(encode_record(task.record)) == task.record
            elif isinstance(command, PersistNote):
                self.changed_notes[command.kind, command.key] = command.value
        self.heard_last += commands
        self.unread += [command for command in commands if not isinstance(command, QUIET)]
        return commands

    def end_turn(self) -> Play:
        """Fire timers, hand out work, and commit."""
        self.bits += 1
        self.tell(TurnEnded(self.bits * 0x9E3779B97F4A7C15 & (1 << 64) - 1, self.pressure))
        self.commit()
        return self

    def commit(self) -> None:
        """What was persisted becomes durable."""
        for task_id, task in self.dirty.items():
            if task.spec_bytes is None and task_id not in self.durable:
                task.spec_bytes = encode_spec(task.spec)  # A child, which the runtime encodes as well.
            if task.spec_bytes is not None:
                self.durable[task_id] = (b"", task.spec_bytes)
                task.spec_bytes = None
            self.durable[task_id] = (encode_record(task.record), self.durable[task_id][1])
            assert list(violations(task.record, task.spec)) == []
        self.dirty.clear()
        for place, value in self.changed_notes.items():
            if value is None:
                self.notes.pop(place, None)
            else:
                assert list(note_violations(*place, value)) == []
                self.notes[place] = value
        self.changed_notes.clear()

    def at(self, ms: int) -> Play:
        """Let time pass until ``ms``; the engine is woken whenever it asked for it."""
        self.heard_last = []
        assert ms >= self.now_ms
        wakes = 0
        while self.engine.next_wake_ms < START_MS + ms:
            wakes = wakes + 1 if self.engine.next_wake_ms <= START_MS + self.now_ms else 0
            assert wakes < WAKES_MAX, "the engine wakes for nothing"
            self.now_ms = max(self.now_ms, self.engine.next_wake_ms - START_MS)
            self.end_turn()
        self.now_ms = ms
        return self.end_turn()

    def later(self, ms: int) -> Play:
        """Let ``ms`` pass."""
        return self.at(self.now_ms + ms)

    def restart(self, *, is_copy: bool = False) -> Play:
        """Kill the server and restore what was durable in a new one. Agents are not told."""
        old = self.engine
        self.dirty.clear()
        self.changed_notes.clear()
        self.engine = self.restored(old.epoch + 1, is_copy=is_copy)
        self.history.restarted()
        assert self.faults() == []
        return self

    def restored(self, epoch: int, *, is_copy: bool = False) -> Engine:
        """A new engine with what is durable, or (a copy) was when a backup was made."""
        engine = Engine(
            "stage",
            self.limits,
            epoch=epoch,
            clock_ms=START_MS + self.now_ms,
            revision=max((decode_record(record).revision for record, _ in self.durable.values()), default=0),
        )
        tasks = []
        finished = []
        members = []
        records = {task_id: decode_record(record) for task_id, (record, _) in sorted(self.durable.items())}
        for task_id, record in records.items():
            spec_bytes = self.durable[task_id][1]
            spec = decode_spec(spec_bytes)
            if record.state not in FINISHED:
                tasks.append((record, spec, compiled(spec.selector), len(spec_bytes)))
                continue
            if record.request_id:
                finished.append((record.request_id, int(task_id)))
            if record.parent_id and records[TaskId(record.parent_id)].state not in FINISHED:
                members.append((record, spec))
        engine.restore(
            tasks,
            finished,
            members=members,
            notes=[(kind, key, value) for (kind, key), value in sorted(self.notes.items())],
            collaborations={record.task_id: (selectors_of(spec), {}) for record, spec, _, _ in tasks},
            is_copy=is_copy,
        )
        return engine

    def faults(self) -> list[str]:
        """What does not hold; after a restart a group may have something left to do."""
        late = "a group has not heard of a child's end"
        return [fault for fault in invariants.check(self.engine) if fault != late]

    # What comes out.

    def __lshift__(self, words: str) -> Play:
        assert self.unread, f"nothing was said where {words!r} was expected"
        assert self.words(self.unread.pop(0)) == words
        return self

    def skip(self) -> Play:
        """Read the rest without looking."""
        self.unread.clear()
        return self

    def over(self) -> None:
        """The play is over: there is nothing left to read."""
        assert self.said == []

    @property
    def said(self) -> list[str]:
        """The rest of the orders, which counts as reading them."""
        words = [self.words(command) for command in self.unread]
        self.unread.clear()
        return words

    def words(self, command: Command) -> str:
        """An order in short words."""
        return words_of(command, self.task_name, lambda session_id: self.agents_of.get(session_id, "?"))

    def heard(self, kind: type[CommandT]) -> list[CommandT]:
        """All orders of a kind in the last turn, quiet ones included."""
        return [command for command in self.heard_last if isinstance(command, kind)]

    # Names.

    def task(self, name: str) -> Task:
        """A live task."""
        return self.engine.tasks[self.tasks[name]]

    def agent(self, name: str) -> Agent:
        """A listed agent."""
        return self.engine.fleet.agents[name]

    def lease(self, name: str) -> LeaseId:
        """``"t1.2"`` as a lease id; one of an unnamed task is unknown."""
        task, _, attempt = name.rpartition(".")
        return lease_of(self.tasks.get(task, UNKNOWN_TASK), int(attempt))

    def task_name(self, task_id: int) -> str:
        """What a task was called."""
        return self.names.get(task_id, f"?{task_id:x}")

    def stored(self, name: str) -> Any:
        """The record of a task as it is durable."""
        return decode_record(self.durable[self.tasks[name]][0])

    def _learn_names(self, commands: list[Command]) -> None:
        # A collaboration makes its first children before its submission is answered.
        for command in sorted(commands, key=lambda command: not isinstance(command, Submitted)):
            if isinstance(command, Submitted) and command.origin < len(self.answers):
                name = self.answers[command.origin]
                self.tasks[name] = command.task.task_id
                self.names.setdefault(command.task.task_id, name)
            elif isinstance(command, Persist) and command.task.task_id not in self.names:
                record = command.task.record
                name = f"{self.task_name(record.parent_id)}/{record.member}"
                if record.parent_id:
                    self.tasks[name] = command.task.task_id
                    self.names[command.task.task_id] = name
            elif isinstance(command, Welcome):
                agent = self.engine.fleet.sessions[command.session_id]
                self.sessions[agent.agent_id] = command.session_id
                self.agents_of[command.session_id] = agent.agent_id
            elif isinstance(command, Assign):
                self.holders[command.lease_id] = self.agents_of[command.session_id]
