"""What the door may ask about tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.engine import explain as engine_explain
from upbeat_server.engine.events import TaskCancelled, TasksSubmitted
from upbeat_server.engine.model import Refusal, TaskId
from upbeat_server.runtime.calls import CancelCall, SubmitCall
from upbeat_server.runtime.desk import Desk, too_many
from upbeat_server.runtime.refused import STORE_DOWN, Refused, task_not_found
from upbeat_server.runtime.snapshot import TaskSnapshot
from upbeat_server.runtime.submissions import SubmissionStream
from upbeat_server.store.store import StoreError, TaskQuery

if TYPE_CHECKING:
    from upbeat_server.engine.events import Submission
    from upbeat_server.engine.explain import Explanation
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.runtime.watchers import TaskWatch


class TaskCalls(Desk):
    """Submit, look, cancel, watch."""

    _submission_streams = 0

    async def submit(self, name: str, submissions: list[Submission]) -> list[TaskSnapshot | Refusal]:
        """Accept tasks durably, each on its own; answers in their order."""
        self.admit_work()
        namespace = await self._catalog.open(name)
        for number, submission in enumerate(submissions):
            submission.index = number
        call = SubmitCall(namespace, len(submissions))
        size = sum(len(submission.spec_bytes) for submission in submissions)
        origin = next(self._origins)
        event = TasksSubmitted(origin, submissions)
        return await self._ask(namespace, call, origin, event, len(submissions), size)

    async def cancel(self, name: str, task_id: TaskId, message: str = "") -> TaskSnapshot:
        """End a task as CANCELLED."""
        self.admit_work()
        namespace = self._catalog.known(name)
        if namespace is None:
            raise task_not_found(task_id)
        origin = next(self._origins)
        event = TaskCancelled(origin, task_id, message)
        return await self._ask(namespace, CancelCall(namespace), origin, event)

    async def get(self, name: str, task_id: TaskId, wait_ms: int = 0) -> TaskSnapshot:
        """A task as it is durable; with ``wait_ms`` as it is when it ends or the wait is over."""
        namespace = self._catalog.known(name)
        if namespace is None:
            raise task_not_found(task_id)
        if wait_ms > 0 and (task_id in namespace.engine.tasks or task_id in namespace.encoded):
            ended = await self._wait_for_end(namespace, task_id, wait_ms)
            if ended is not None:
                return ended
        snapshot = namespace.committed(task_id)
        if snapshot is not None:
            return snapshot
        try:
            stored = (await self._store.get(name, [task_id]))[0]
        except StoreError as error:
            raise Refused(STORE_DOWN) from error
        if stored is None:
            raise task_not_found(task_id)
        return TaskSnapshot.of_stored(stored)

    async def list_tasks(self, name: str, query: TaskQuery, limit: int) -> list[TaskSnapshot]:
        """Committed tasks in the query's order; fewer than ``limit`` does not mean the end."""
        namespace = self._catalog.known(name)
        if namespace is None:
            return []
        try:
            stored = await self._store.query(name, query, limit)
        except StoreError as error:
            raise Refused(STORE_DOWN) from error
        live = namespace.engine.tasks
        answers = []
        for row in stored:
            task = live.get(TaskId(row.task_id))
            answers.append(TaskSnapshot.of_stored(row, task.progress if task is not None else None))
        return answers

    async def explain(self, name: str, task_id: TaskId) -> Explanation | TaskSnapshot:
        """Why a task waits; a finished one is answered as it ended."""
        namespace = self._catalog.known(name)
        if namespace is None:
            raise task_not_found(task_id)
        if task_id not in namespace.encoded:
            explanation = engine_explain.explain(namespace.engine, task_id, namespace.now_ms())
            if explanation is not None:
                return explanation
        return await self.get(name, task_id)

    async def watch_tasks(
        self,
        name: str,
        query: TaskQuery | None,
        task_id: TaskId | None = None,
        progress: bool = False,
        revision: int = 0,
    ) -> TaskWatch:
        """A watch of what a query matches (None: everything) or of one task.

        Close it in the end. Its first revision is where a snapshot, read after this returns,
        has to be completed from.
        """
        namespace = await self._catalog.open(name)
        self._admit_watch()
        return namespace.task_watches.open(query, task_id, progress, revision)

    async def open_submission_stream(self, name: str) -> SubmissionStream:
        """A stream of submissions; ``close_submission_stream`` it in the end."""
        self.admit_work()
        namespace = await self._catalog.open(name)
        most = self.bounds.streams.submission_streams_max
        if self._submission_streams >= most:
            raise too_many("submission streams", "submission_streams_max", most)
        self._submission_streams += 1
        return SubmissionStream(namespace, self._inbox, self._lookups, self.bounds, next(self._origins))

    def close_submission_stream(self, stream: SubmissionStream) -> None:
        """The stream is gone."""
        stream.leave()
        self._submission_streams -= 1

    async def _wait_for_end(self, namespace: Namespace, task_id: TaskId, wait_ms: int) -> TaskSnapshot | None:
        waiter: asyncio.Future[TaskSnapshot] = asyncio.get_running_loop().create_future()
        namespace.waiters.setdefault(task_id, []).append(waiter)
        try:
            async with asyncio.timeout(wait_ms / 1_000):
                return await waiter
        except TimeoutError:
            return None
        finally:
            waiters = namespace.waiters.get(task_id)
            if waiters and waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del namespace.waiters[task_id]
