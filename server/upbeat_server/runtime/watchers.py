"""Watches: committed changes as they come, and a ring of them to resume from.

A change is offered to every watch that wants it, after its commit. A watch holds
what its reader has not taken yet, bounded in count and bytes; one that is too slow
is ended with SLOW_READER and resumes from its last revision while the ring still
has it. Progress is not durable: it is numbered within an attempt, and when too
much of it waits the oldest is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.model import FINISHED, Refusal
from upbeat_server.runtime.refused import Refused, refused
from upbeat_server.runtime.snapshot import TaskSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.commands import TaskProgressed
    from upbeat_server.engine.model import TaskId
    from upbeat_server.runtime.bounds import WatchBounds
    from upbeat_server.runtime.changes import Change, Commit
    from upbeat_server.store.store import TaskQuery


class Left(msgspec.Struct):
    """A task no longer matches the filter."""

    task_id: TaskId


class Progress(msgspec.Struct):
    """What a running attempt said."""

    task_id: TaskId
    attempt: int
    fraction: float
    message: str
    chunk: bytes
    sequence: int


WatchEvent: TypeAlias = TaskSnapshot | Left | Progress


def matches(query: TaskQuery, change: Change, state: int) -> bool:
    """Whether the task matched, or matches, while in ``state``."""
    if query.states and state not in query.states:
        return False
    if query.end_from_ms or query.end_to_ms:
        end_ms = change.end_ms if state in FINISHED else 0
        if not end_ms or end_ms < query.end_from_ms or (query.end_to_ms and end_ms >= query.end_to_ms):
            return False
    spec = change.spec
    if query.types and spec.type not in query.types:
        return False
    if query.priorities and spec.priority not in query.priorities:
        return False
    if query.parent_id and change.parent_id != query.parent_id:
        return False
    if query.roots and change.parent_id:
        return False
    if change.create_ms < query.create_from_ms:
        return False
    if query.create_to_ms and change.create_ms >= query.create_to_ms:
        return False
    return all(spec.labels.get(key) == value for key, value in query.labels)


class TaskWatch:
    """One watch: what its reader has not taken yet."""

    def __init__(
        self, watches: TaskWatches, query: TaskQuery | None, task_id: TaskId | None, progress: bool
    ) -> None:
        self.query = query
        self.task_id = task_id  # The only task it is about, or None.
        self.wants_progress = progress
        self.revision = watches.revision  # Everything up to here has been taken.
        self._watches = watches
        self._bounds = watches.bounds
        self._waiting: deque[Change | Progress] = deque()
        self._size = 0
        self._progress_waiting = 0
        self._signal = asyncio.Event()
        self._refusal: Refusal | None = None
        self._is_last = False

    def offer(self, change: Change) -> None:
        """Take a committed change."""
        if self._refusal is not None:
            return
        self._waiting.append(change)
        self._size += change.size
        bounds = self._bounds
        if len(self._waiting) > bounds.watch_events_max or self._size > bounds.watch_bytes_max:
            self.fail(_too_slow(self.revision))
        self._signal.set()

    @property
    def is_over_full(self) -> bool:
        """Whether more waited than it may hold."""
        return self._refusal is not None

    def offer_progress(self, progress: Progress) -> None:
        """Take progress; the oldest that waits makes room for it."""
        if self._refusal is not None:
            return
        if self._progress_waiting >= self._bounds.progress_events_max:
            oldest = next(event for event in self._waiting if isinstance(event, Progress))
            self._waiting.remove(oldest)
            self._size -= len(oldest.chunk)
            self._progress_waiting -= 1
        self._waiting.append(progress)
        self._size += len(progress.chunk)
        self._progress_waiting += 1
        self._signal.set()

    def fail(self, refusal: Refusal) -> None:
        """End the watch; what waits is not sent."""
        self._refusal = refusal
        self._waiting.clear()
        self._signal.set()

    def close(self) -> None:
        """The reader is gone."""
        self._watches.forget(self)

    async def take(self, items_max: int, bytes_max: int) -> list[WatchEvent] | None:
        """The next events, at least one, in commit order; None after the last.

        An answer may be empty when nothing that waited concerns the watch: only the
        revision moved. Raises Refused when the watch was ended.
        """
        while not self._waiting:
            if self._refusal is not None:
                raise Refused(self._refusal)
            if self._is_last:
                return None
            self._signal.clear()
            await self._signal.wait()
        if self._refusal is not None:
            raise Refused(self._refusal)
        events: list[WatchEvent] = []
        size = 0
        looked_at = 0
        while self._waiting and len(events) < items_max and size < bytes_max and looked_at < 4 * items_max:
            entry = self._waiting.popleft()
            looked_at += 1
            if isinstance(entry, Progress):
                self._progress_waiting -= 1
                self._size -= len(entry.chunk)
                size += len(entry.chunk) + 64
                events.append(entry)
                continue
            self._size -= entry.size
            if entry.revision <= self.revision:
                continue  # The snapshot or an earlier life of the watch had it.
            self.revision = entry.revision
            event = self._event(entry)
            if event is not None:
                size += entry.size
                events.append(event)
            if self.task_id is not None and entry.state in FINISHED:
                self._is_last = True
        return events

    def finish(self) -> None:
        """The watched task has ended before the watch began: nothing will come."""
        self._is_last = True
        self._signal.set()

    def _event(self, change: Change) -> WatchEvent | None:
        query = self.query
        if query is None or matches(query, change, change.state):
            return change.snapshot()
        if change.state_before and matches(query, change, change.state_before):
            return Left(change.task_id)
        return None


class TaskWatches:
    """All watches of a namespace, and the ring they resume from."""

    def __init__(self, bounds: WatchBounds, revision: int) -> None:
        self.bounds = bounds
        self.revision = revision
        self._ring: deque[Commit] = deque()
        self._ring_events = 0
        self._ring_size = 0
        self._ring_floor = revision  # Changes after this one are in the ring.
        self._wide: list[TaskWatch] = []
        self._by_task: dict[TaskId, list[TaskWatch]] = {}

    @property
    def count(self) -> int:
        """How many watches are open."""
        return len(self._wide) + sum(len(watches) for watches in self._by_task.values())

    def wants_progress(self, task_id: TaskId) -> list[TaskWatch]:
        """The watches that are told of the task's progress."""
        watches = [watch for watch in self._by_task.get(task_id, ()) if watch.wants_progress]
        watches.extend(watch for watch in self._wide if watch.wants_progress)
        return watches

    def open(
        self,
        query: TaskQuery | None,
        task_id: TaskId | None,
        progress: bool,
        after_revision: int,
    ) -> TaskWatch:
        """A new watch; with ``after_revision`` it begins with what the ring has after it.

        Raises Refused (REVISION_OUT_OF_RANGE).
        """
        watch = TaskWatch(self, query, task_id, progress)
        if after_revision:
            if not self._ring_floor <= after_revision <= self.revision:
                raise _out_of_range(after_revision, self._ring_floor, self.revision)
            watch.revision = after_revision
            for change in self._ring_after(after_revision):
                if task_id is None or change.task_id == task_id:
                    watch.offer(change)
            if watch.is_over_full:
                # It would be ended as too slow before it could read, and again with every resume.
                raise _too_far_behind(after_revision, self.revision)
        if task_id is None:
            self._wide.append(watch)
        else:
            self._by_task.setdefault(task_id, []).append(watch)
        return watch

    def forget(self, watch: TaskWatch) -> None:
        """The watch is closed. Idempotent."""
        if watch.task_id is None:
            if watch in self._wide:
                self._wide.remove(watch)
            return
        watches = self._by_task.get(watch.task_id, [])
        if watch in watches:
            watches.remove(watch)
            if not watches:
                del self._by_task[watch.task_id]

    def publish(self, commit: Commit, revision: int) -> None:
        """What one commit changed."""
        self.revision = max(self.revision, revision)
        self._ring.append(commit)
        self._ring_events += len(commit.rows)
        self._ring_size += commit.size
        self._trim()
        if not self._wide and not self._by_task:
            return
        changes = commit.changes()
        for watch in self._wide:
            for change in changes:
                watch.offer(change)
        if self._by_task:
            for change in changes:
                for watch in self._by_task.get(change.task_id, ()):
                    watch.offer(change)

    def publish_progress(self, command: TaskProgressed) -> None:
        """What a running attempt said, to those who want it."""
        if not self._wide and command.task_id not in self._by_task:
            return
        watches = self.wants_progress(command.task_id)
        if watches:
            progress = Progress(
                command.task_id,
                command.attempt,
                command.fraction,
                command.message,
                command.chunk,
                command.sequence,
            )
            for watch in watches:
                watch.offer_progress(progress)

    def end(self, refusal: Refusal) -> None:
        """End all watches."""
        for watch in self._all():
            watch.fail(refusal)
        self._wide.clear()
        self._by_task.clear()

    def _all(self) -> Iterable[TaskWatch]:
        yield from list(self._wide)
        for watches in list(self._by_task.values()):
            yield from list(watches)

    def _ring_after(self, revision: int) -> list[Change]:
        late = [commit for commit in self._ring if commit.revision > revision]
        return [change for commit in late for change in commit.changes() if change.revision > revision]

    def _trim(self) -> None:
        """Forget the oldest commits; a single one that is too much is not kept at all."""
        ring, bounds = self._ring, self.bounds
        while self._ring_events > bounds.ring_events_max or self._ring_size > bounds.ring_bytes_max:
            oldest = ring.popleft()
            self._ring_events -= len(oldest.rows)
            self._ring_size -= oldest.size
            self._ring_floor = oldest.revision


def _too_slow(revision: int) -> Refusal:
    return Refusal(
        reasons.SLOW_READER,
        f"this watch was read too slowly: watch again with revision {revision}",
        {"revision": str(revision)},
    )


def _too_far_behind(wanted: int, last: int) -> Refused:
    return refused(
        reasons.REVISION_OUT_OF_RANGE,
        f"more changed since revision {wanted} than a watch may hold: watch again without a revision",
        newest=str(last),
    )


def _out_of_range(wanted: int, floor: int, last: int) -> Refused:
    return refused(
        reasons.REVISION_OUT_OF_RANGE,
        f"revision {wanted} cannot be resumed from; {floor} to {last} can: watch again without a revision",
        oldest=str(floor),
        newest=str(last),
    )
