"""StreamTasks as the runtime knows it: a window of submissions and their ends.

Every request_id in the window is in flight, accepted, or finished and not yet
acknowledged. Nothing here makes a future or a task for a submission. Answers
gather and go out as one parcel while a write is in flight; the window bounds them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.events import Submission, TasksSubmitted
from upbeat_server.engine.model import Refusal, TaskId
from upbeat_server.runtime.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.model import TaskRecord
    from upbeat_server.engine.task import Task
    from upbeat_server.runtime.bounds import RuntimeBounds
    from upbeat_server.runtime.inbox import Inbox
    from upbeat_server.runtime.lookups import Lookups
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.runtime.snapshot import TaskSnapshot

NOT_ACCEPTED = TaskId(0)
SLACK = 1_000
"""Answers that may wait besides those of the window."""
SLOW_SUBMITTER = Refusal(
    reasons.SLOW_READER, "this stream was read too slowly and is given up: open another and attach"
)


class Finished(msgspec.Struct, gc=False):
    """The end of one task of the stream; the record is final."""

    request_id: str
    record: TaskRecord


class SubmissionParcel(msgspec.Struct):
    """One frame to a submitter."""

    accepted: list[tuple[str, int]] = []
    refused: list[tuple[str, Refusal]] = []
    finished: list[Finished] = []
    window: int = 0


class SubmissionStream:
    """One StreamTasks call."""

    def __init__(
        self, namespace: Namespace, inbox: Inbox, lookups: Lookups, bounds: RuntimeBounds, origin: int
    ) -> None:
        self.namespace = namespace
        self.window = bounds.streams.window
        self._bounds = bounds.streams
        self._inbox = inbox
        self._lookups = lookups
        self._origin = origin
        self._next_index = 0
        self._pending: dict[int, str] = {}  # Request ids that wait for the engine's answer.
        self._open: dict[str, TaskId] = {}  # All request ids in the window.
        self._request_by_task: dict[TaskId, str] = {}
        self._accepted: list[tuple[str, int]] = []
        self._refused: list[tuple[str, Refusal]] = []
        self._finished: deque[Finished] = deque()
        self._unsent_window = self.window
        self._answers_max = 4 * self.window + SLACK
        self._bell = Bell()
        self._is_over = False
        self._is_finishing = False
        self.closed: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        namespace.routes[origin] = self

    @property
    def in_window(self) -> int:
        """Submissions that are unfinished or unacknowledged."""
        return len(self._open)

    async def submit(self, submissions: list[Submission], size: int, refusal: Refusal | None) -> None:
        """Bring submissions; each is answered by the outbox. ``refusal`` refuses all of them."""
        taken: list[Submission] = []
        opened, window = self._open, self.window
        for submission in submissions:
            request_id = submission.request_id
            if refusal is not None:
                self.refuse(request_id, refusal)
            elif request_id in opened:
                self._repeat(request_id, submission, taken)
            elif len(opened) >= window:
                self.refuse(request_id, self._beyond_window())
            else:
                opened[request_id] = NOT_ACCEPTED
                self._number(request_id, submission, taken)
        if taken:
            if self._inbox.is_full:
                await self._inbox.room()
            if not self._is_over:
                self._inbox.push(self.namespace, TasksSubmitted(self._origin, taken), len(taken), size)

    def attach(self, request_ids: list[str]) -> None:
        """Tell the ends of earlier submissions here."""
        engine = self.namespace.engine
        asked: list[tuple[str, TaskId]] = []
        for request_id in request_ids:
            task_id = engine.requests.get(request_id)
            if task_id is None:
                self.refuse(request_id, _unknown_request(request_id))
                continue
            if request_id not in self._open and len(self._open) >= self.window:
                self.refuse(request_id, self._beyond_window())
                continue
            self._open[request_id] = task_id
            self._request_by_task[task_id] = request_id
            self.namespace.subscribe(task_id, self)
            if task_id not in engine.tasks and task_id not in self.namespace.encoded:
                asked.append((request_id, task_id))
        for request_id, task_id in asked:
            self._lookups.ask(self.namespace, task_id, Attached(self, request_id, task_id))

    def acknowledge(self, request_ids: Iterable[str]) -> None:
        """Ends that have arrived: their room in the window is free."""
        for request_id in request_ids:
            task_id = self._open.get(request_id)
            if task_id and task_id not in self._request_by_task:
                del self._open[request_id]

    def refuse(self, request_id: str, refusal: Refusal) -> None:
        """A submission, or an attachment, had no effect."""
        self._refused.append((request_id, refusal))
        self._added()

    def leave(self) -> None:
        """The stream is gone. Idempotent and synchronous."""
        if self._is_over:
            return
        self._is_over = True
        self.namespace.routes.pop(self._origin, None)
        for task_id in self._request_by_task:
            self.namespace.unsubscribe(task_id, self)
        self._bell.ring()

    def fail(self, refusal: Refusal) -> None:
        """The namespace is dropped, the server stops, or nobody reads. The first reason holds."""
        if not self.closed.done():
            self.closed.set_result(refusal)

    def peer_ended(self) -> None:
        """The submitter sends nothing more: the stream ends when all its tasks have."""
        self._is_finishing = True
        self._bell.ring()

    async def take(self) -> SubmissionParcel | None:
        """The next frame, never empty; None after the last."""
        while not (self._accepted or self._refused or self._finished or self._unsent_window):
            if self._is_finishing and not self._pending and not self._request_by_task:
                return None
            await self._bell.wait()
        room = self._bounds.frame_items_max
        parcel = SubmissionParcel(self._accepted[:room], self._refused[:room], window=self._unsent_window)
        self._unsent_window = 0
        del self._accepted[:room]
        del self._refused[:room]
        # An end goes out after the acceptance of the same submission, or with it.
        if self._finished and not self._accepted:
            parcel.finished = _pack(self._finished, room, self._bounds.frame_bytes_max)
        return parcel

    # What the loop tells.

    def submitted(self, index: int, task: Task) -> None:
        """A submission is the task; ``tell_accepted`` follows in the same turn."""
        request_id = self._pending.pop(index, None)
        if request_id is None or self._is_over:
            return
        task_id = task.task_id
        self._open[request_id] = task_id
        self._request_by_task[task_id] = request_id
        self._accepted.append((request_id, task_id))
        self.namespace.subscribe(task_id, self)

    def tell_accepted(self) -> None:
        """All that the turn accepted was brought."""
        self._added()

    def known(self, index: int, snapshot: TaskSnapshot) -> None:
        """A submission repeats a finished task."""
        request_id = self._pending.pop(index, None)
        if request_id is None or self._is_over:
            return
        self._open[request_id] = TaskId(snapshot.record.task_id)
        self._accepted.append((request_id, snapshot.record.task_id))
        self._finished.append(Finished(request_id, snapshot.record))
        self._added()

    def submission_refused(self, index: int, refusal: Refusal) -> None:
        """A submission had no effect."""
        request_id = self._pending.pop(index, None)
        if request_id is None:
            return
        if not self._open.get(request_id):
            self._open.pop(request_id, None)
        self.refuse(request_id, refusal)

    def finished(self, record: TaskRecord) -> None:
        """A task of the stream ended."""
        request_id = self._request_by_task.pop(TaskId(record.task_id), None)
        if request_id is not None:
            self._finished.append(Finished(request_id, record))
            self._bell.ring()

    # Below, what only this class calls.

    def _added(self) -> None:
        """Wake the writer. Refusals and repeats are not in the window: they are bounded here."""
        self._bell.ring()
        if len(self._accepted) + len(self._refused) + len(self._finished) > self._answers_max:
            self.fail(SLOW_SUBMITTER)

    def _number(self, request_id: str, submission: Submission, taken: list[Submission]) -> None:
        submission.index = self._next_index
        self._pending[self._next_index] = request_id
        self._next_index += 1
        taken.append(submission)

    def _repeat(self, request_id: str, submission: Submission, taken: list[Submission]) -> None:
        """A request_id that is in the window already: the engine compares and answers again."""
        if len(self._pending) >= 2 * self.window:
            self.refuse(request_id, self._beyond_window())
        else:
            self._number(request_id, submission, taken)

    def found(self, request_id: str, task_id: TaskId, snapshot: TaskSnapshot | Refusal | None) -> None:
        """The store's answer to an attachment."""
        if self._is_over or self._request_by_task.pop(task_id, None) is None:
            return  # Its end was told in the meantime.
        self.namespace.unsubscribe(task_id, self)
        if isinstance(snapshot, Refusal) or snapshot is None:
            self._open.pop(request_id, None)
            self.refuse(request_id, snapshot or _unknown_request(request_id))
            return
        self._finished.append(Finished(request_id, snapshot.record))
        self._bell.ring()

    def _beyond_window(self) -> Refusal:
        return Refusal(
            reasons.WINDOW_EXCEEDED,
            f"the window of this stream is {self.window}: wait for ends and acknowledge them",
            {"window": str(self.window)},
            retry_ms=1_000,
        )


class Attached(msgspec.Struct):
    """Who asked the store for an attachment."""

    stream: SubmissionStream
    request_id: str
    task_id: TaskId

    def __call__(self, answer: TaskSnapshot | Refusal | None) -> None:
        """The store answered."""
        self.stream.found(self.request_id, self.task_id, answer)


def _pack(waiting: deque[Finished], items_max: int, bytes_max: int) -> list[Finished]:
    """Take the ends that go into one frame: one at least."""
    packed: list[Finished] = []
    bytes_left = bytes_max
    while waiting and len(packed) < items_max:
        output = waiting[0].record.output
        bytes_left -= 128 if output is None else 128 + len(output.data)
        if bytes_left < 0 and packed:
            break
        packed.append(waiting.popleft())
    return packed


def _unknown_request(request_id: str) -> Refusal:
    return Refusal(
        reasons.TASK_NOT_FOUND,
        "no task was submitted with this request_id, or it was purged",
        {"request_id": request_id},
    )
