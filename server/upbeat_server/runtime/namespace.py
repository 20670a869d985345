"""One open namespace: its engine, and everybody who is waiting for something of it.

Only the loop steps the engine. While a commit is in flight no step runs, so what
is in memory but not in ``encoded`` is durable, and after the commit all of it is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from upbeat_server.engine.events import TasksSubmitted
from upbeat_server.runtime.agent_watches import AgentWatches
from upbeat_server.runtime.calls import PendingCall
from upbeat_server.runtime.demand_watches import DemandWatches
from upbeat_server.runtime.refused import STORE_DOWN, Refused
from upbeat_server.runtime.snapshot import TaskSnapshot
from upbeat_server.runtime.submissions import SubmissionStream
from upbeat_server.runtime.watchers import TaskWatches
from upbeat_server.store import codec

if TYPE_CHECKING:
    import asyncio

    from upbeat_server.clock import Clock
    from upbeat_server.engine.commands import Command
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.model import Refusal, TaskId
    from upbeat_server.engine.task import Task
    from upbeat_server.runtime.bounds import RuntimeBounds
    from upbeat_server.runtime.inbox import Letter
    from upbeat_server.runtime.sessions import AgentSession
    from upbeat_server.store.store import TaskRow


class Route(Protocol):
    """Somebody who waits for answers under an origin: a call or a stream."""

    def fail(self, refusal: Refusal) -> None:
        """The namespace is dropped, or the server stops: no answer will come."""


class Namespace:
    """A namespace whose engine is in memory."""

    def __init__(self, engine: Engine, clock: Clock, bounds: RuntimeBounds) -> None:
        self.name: str = engine.namespace
        self.engine = engine
        self.is_live = True
        self.is_purging = False
        self.letters: deque[Letter] = deque()
        # Of the turn that is being made: what to perform, and what to make durable.
        self.commands: list[Command] = []
        self.dirty: dict[TaskId, Task] = {}
        self.notes: dict[tuple[str, str], bytes | None] = {}  # By kind and key; None: removed.
        self.encoded: dict[TaskId, TaskRow] = {}
        self.revision = engine.revision  # Of the last commit.
        self.routes: dict[int, Route] = {}
        self.sessions: dict[int, AgentSession] = {}
        self.waiters: dict[TaskId, list[asyncio.Future[TaskSnapshot]]] = {}
        self.subscribers: dict[TaskId, list[SubmissionStream]] = {}
        self.task_watches = TaskWatches(bounds.watches, self.revision)
        self.agent_watches = AgentWatches()
        self.demand_watches = DemandWatches()
        self._clock = clock
        self._submitted = 0  # As of the last time that they were counted.

    def take_submitted(self) -> int:
        """Tasks that the engine has accepted or made since the last time."""
        total = self.engine.counters.submitted
        new, self._submitted = total - self._submitted, total
        return new

    @property
    def is_changed(self) -> bool:
        """Whether the turn that is being made has something to make durable."""
        return bool(self.dirty or self.notes)

    @property
    def watches(self) -> int:
        """How many watches of any kind are open."""
        return self.task_watches.count + self.agent_watches.count + self.demand_watches.count

    def now_ms(self) -> int:
        """Engine time."""
        return self._clock.now_ms()

    def snapshot(self, task: Task) -> TaskSnapshot:
        """A live task as it is now; its record is copied by way of its bytes."""
        row = self.encoded.get(task.task_id)
        record = codec.encode_record(task.record) if row is None else row.record
        return TaskSnapshot(record, task.spec, task.progress)

    def committed(self, task_id: TaskId) -> TaskSnapshot | None:
        """A live task as it is durable; None when only the store knows."""
        if task_id in self.encoded:
            return None
        task = self.engine.tasks.get(task_id)
        return None if task is None else self.snapshot(task)

    def subscribe(self, task_id: TaskId, stream: SubmissionStream) -> None:
        """Tell the stream when the task ends."""
        streams = self.subscribers.get(task_id)
        if streams is None:
            self.subscribers[task_id] = [stream]
        elif stream not in streams:
            streams.append(stream)

    def unsubscribe(self, task_id: TaskId, stream: SubmissionStream) -> None:
        """Undo ``subscribe``."""
        streams = self.subscribers.get(task_id)
        if streams and stream in streams:
            streams.remove(stream)
            if not streams:
                del self.subscribers[task_id]

    def refuse_waiting(self, withdrawn: list[Letter]) -> None:
        """The store is down: calls get an indefinite answer, streams a refusal of what they sent."""
        for letter in withdrawn:
            if isinstance(letter.event, TasksSubmitted):
                route = self.routes.get(letter.event.origin)
                if isinstance(route, SubmissionStream):
                    for submission in letter.event.submissions:
                        route.submission_refused(submission.index, STORE_DOWN)
        for route in list(self.routes.values()):
            if isinstance(route, PendingCall):
                route.fail(STORE_DOWN)

    def end(self, refusal: Refusal) -> None:
        """Everybody who waits gets the refusal; nothing reaches the engine any more."""
        self.is_live = False
        for route in list(self.routes.values()):
            route.fail(refusal)
        for session in list(self.sessions.values()):
            session.fail(refusal)
        for waiters in self.waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(Refused(refusal))
        self.routes.clear()
        self.sessions.clear()
        self.waiters.clear()
        self.subscribers.clear()
        self.task_watches.end(refusal)
        self.agent_watches.end(refusal)
        self.demand_watches.end(refusal)
