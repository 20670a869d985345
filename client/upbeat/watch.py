"""All tasks that a client follows, over one WatchTasks.

The stream asks for as little as covers all followers: the one task while there
is one, their common parent, else what was created since the oldest of them
(of their type, if it is one). When a task joins that is not covered, the stream
is opened anew from the last revision that it had sent: no follower misses or
sees twice a change. Changes of a task carry its revision; what a follower has
had is not handed to it again. Runs on the I/O thread.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from upbeat.backoff import Patience
from upbeat.connection import LASTED_S, is_worth_reopening
from upbeat.duplex import unreadable
from upbeat.errors import ClientClosed
from upbeat.refusal import error_of_call, error_of_status
from upbeat.task import state_of
from upbeat.v1 import task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from upbeat.connection import Connection
    from upbeat.errors import Refused, UpbeatError

_GAP = "REVISION_OUT_OF_RANGE"


class Follower:
    """Somebody who follows one task; `told` gets Task, TaskProgress, an error, or None at the end."""

    def __init__(self, task_id: str, told: Callable[[Any], None]) -> None:
        self.task_id = task_id
        self.revision = 0
        self._told = told

    def tell_task(self, task: task_pb2.Task) -> bool:
        """Hand on a change that is news; True if it was the last one."""
        if task.revision <= self.revision:
            return False
        self.revision = task.revision
        self._told(task)
        is_final = state_of(task.state).is_final
        if is_final:
            self._told(None)
        return is_final

    def tell_progress(self, progress: task_service_pb2.TaskProgress) -> None:
        """Hand on what an attempt said."""
        self._told(progress)

    def fail(self, error: UpbeatError) -> None:
        """There is nothing more to hand on."""
        self._told(error)


@dataclass(frozen=True, slots=True)
class Cover:
    """What a watch asks for."""

    task_id: str = ""
    parent_task_id: str = ""
    filter: str = ""
    since_ns: int = 0
    type: str = ""

    def has(self, task: task_pb2.Task) -> bool:
        """Whether the watch would tell of the task."""
        if self.task_id:
            return task.task_id == self.task_id
        if self.parent_task_id:
            return task.parent_task_id == self.parent_task_id
        return task.create_time.ToNanoseconds() >= self.since_ns and self.type in ("", task.spec.type)


def cover_of(tasks: Iterable[task_pb2.Task]) -> Cover:
    """The narrowest cover of one or more tasks that one watch can ask for."""
    followed = list(tasks)
    first = followed[0]
    if len(followed) == 1:
        return Cover(task_id=first.task_id)
    if first.parent_task_id and all(task.parent_task_id == first.parent_task_id for task in followed):
        return Cover(parent_task_id=first.parent_task_id)
    oldest = min(followed, key=lambda task: task.create_time.ToNanoseconds())
    text = f'create_time >= "{oldest.create_time.ToJsonString()}"'
    common = first.spec.type if all(task.spec.type == first.spec.type for task in followed) else ""
    if common:
        text += f' AND type = "{common}"'
    return Cover(filter=text, since_ns=oldest.create_time.ToNanoseconds(), type=common)


class WatchHub:
    """Who follows what, and the one stream that feeds them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._followers: dict[str, dict[Follower, None]] = {}
        self._tasks: dict[str, task_pb2.Task] = {}  # One picture of each followed task, for the cover.
        self._cover: Cover | None = None
        self._revision = 0  # Everything up to here has been handed on, for the tasks of the cover.
        self._runner: asyncio.Task[None] | None = None
        self._joining = asyncio.Lock()
        self._patience = Patience(connection.patience_s)

    async def join(self, follower: Follower) -> None:
        """Tell the follower of its task from now on; raises TaskNotFound, Unavailable, ..."""
        async with self._joining:
            # First: what arrives while the task is read must find its follower.
            self._followers.setdefault(follower.task_id, {})[follower] = None
            task = self._tasks.get(follower.task_id)
            try:
                if task is None:
                    await self._cover_too(follower)
                else:
                    follower.tell_task(task)
            except BaseException:
                self.leave(follower)
                raise

    async def _cover_too(self, follower: Follower) -> None:
        """Widen the cover by one task.

        It is read after the old stream has ended: what is answered then includes
        everything up to the revision from which the new stream goes on.
        """
        task = await self._read(follower.task_id)
        if self._cover is None or not self._cover.has(task) or not self._is_running:
            await self._stop()
            task = await self._read(follower.task_id)
            self._cover = cover_of([*self._tasks.values(), task])
            if not self._tasks:
                self._revision = 0
        self._hand_on_task(task)
        if self._tasks and not self._is_running:
            self._runner = asyncio.create_task(self._run())

    async def _read(self, task_id: str) -> task_pb2.Task:
        request = task_service_pb2.GetTaskRequest(
            namespace=self._connection.namespace, task_id=task_id, view=task_pb2.TASK_VIEW_BASIC
        )
        response = await self._connection.call(self._connection.tasks.GetTask, request)
        task: task_pb2.Task = response.task
        return task

    def leave(self, follower: Follower) -> None:
        """Tell it nothing more; the last one ends the stream."""
        followers = self._followers.get(follower.task_id)
        if followers is not None:
            followers.pop(follower, None)
            if not followers:
                self._forget(follower.task_id)

    def _forget(self, task_id: str) -> None:
        self._followers.pop(task_id, None)
        self._tasks.pop(task_id, None)
        if not self._tasks and self._runner is not None:
            self._runner.cancel()

    async def close(self) -> None:
        """End the stream; followers get ClientClosed."""
        await self._stop()
        self._fail_all(ClientClosed("the client was closed"))

    @property
    def _is_running(self) -> bool:
        return self._runner is not None and not self._runner.done() and not self._runner.cancelling()

    async def _stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            with suppress(asyncio.CancelledError):
                await self._runner
            self._runner = None

    def _fail_all(self, error: UpbeatError) -> None:
        everybody = [follower for followers in self._followers.values() for follower in followers]
        self._followers.clear()
        self._tasks.clear()
        for follower in everybody:
            follower.fail(error)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._tasks:
            opened_at = loop.time()
            error = await self._serve()
            if error.reason == _GAP:
                self._revision = 0  # A snapshot bridges the gap; followers get the newest state.
                continue
            if loop.time() - opened_at > LASTED_S:
                self._patience.worked()
            delay_s = self._patience.next_s(loop.time(), error.retry_after)
            if delay_s is None or not is_worth_reopening(error):
                self._fail_all(error)
                return
            await asyncio.sleep(delay_s)

    async def _serve(self) -> Refused:
        """One stream, until it ends; answers how."""
        request = task_service_pb2.WatchTasksRequest(
            namespace=self._connection.namespace, revision=self._revision, progress=True
        )
        cover = self._cover
        assert cover is not None  # noqa: S101 - set before the runner starts
        for name in ("task_id", "parent_task_id", "filter"):
            if getattr(cover, name):
                setattr(request, name, getattr(cover, name))
        call = self._connection.tasks.WatchTasks(request, metadata=self._connection.metadata)
        try:
            while (frame := await call.read()) is not grpc.aio.EOF:
                if frame is None:
                    return unreadable()
                self._patience.worked()
                self._hand_on(frame)  # type: ignore[arg-type]
            message = await call.details() or ""
            return error_of_status(await call.code(), message, await call.trailing_metadata())
        except grpc.aio.AioRpcError as failure:
            return error_of_call(failure)
        finally:
            call.cancel()

    def _hand_on(self, frame: task_service_pb2.WatchTasksResponse) -> None:
        for event in frame.events:
            kind = event.WhichOneof("event")
            if kind == "task":
                if event.task.task_id in self._followers:
                    self._hand_on_task(event.task)
            elif kind == "progress":
                for follower in self._followers.get(event.progress.task_id, ()):
                    follower.tell_progress(event.progress)
        if frame.revision:
            self._revision = frame.revision

    def _hand_on_task(self, task: task_pb2.Task) -> None:
        self._tasks[task.task_id] = task
        is_ended = False
        for follower in tuple(self._followers.get(task.task_id, ())):
            is_ended = follower.tell_task(task) or is_ended
        if is_ended:
            self._forget(task.task_id)
