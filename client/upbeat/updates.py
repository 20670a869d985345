"""What users iterate over: the updates of one task, and watches of many."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc

from upbeat.backoff import Patience
from upbeat.channel import CHANNELS
from upbeat.connection import LASTED_S, is_worth_reopening
from upbeat.duplex import is_cancelled, unreadable
from upbeat.errors import ClientClosed, UpbeatError
from upbeat.io_thread import Crossing, io_thread
from upbeat.refusal import error_of_call, error_of_status
from upbeat.task import Progress, Task, progress_of, task_of
from upbeat.v1 import task_pb2, task_service_pb2
from upbeat.watch import Follower

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upbeat.channel import SharedChannel
    from upbeat.core import Core
    from upbeat.errors import Refused

UNREAD_MAX = 10_000
"""Beyond it a reader that does not read gets no more progress; changes it gets all."""


async def updates(core: Core, task_id: str) -> AsyncIterator[Task | Progress]:
    """The task as it is, then each change and whatever its attempts report, to its end."""
    queue: asyncio.Queue[Any] = asyncio.Queue()
    crossing = Crossing(asyncio.get_running_loop())

    def arrived(news: Any) -> None:
        if not isinstance(news, task_service_pb2.TaskProgress) or queue.qsize() < UNREAD_MAX:
            queue.put_nowait(news)

    follower = Follower(task_id, lambda news: crossing.post(arrived, news))
    await io_thread().call(core.watches.join(follower))
    try:
        while (news := await queue.get()) is not None:
            if isinstance(news, UpbeatError):
                raise news
            yield task_of(news) if isinstance(news, task_pb2.Task) else progress_of(news)
    finally:
        io_thread().crossing.post(core.watches.leave, follower)


@dataclass(frozen=True, slots=True)
class Left:
    """A task that no longer matches the watch's filter."""

    task_id: str


class TaskWatch:
    """An iterator over `Task`, `Left` and `Progress`, in commit order, that does not end.

    First comes a snapshot, until `is_snapshot_done`, oldest tasks first; one that
    is interrupted begins anew. Then comes every change, without gap or
    duplicate, over reconnects too. `revision` is what to resume from in another
    process. Raises RevisionOutOfRange when the server no longer holds
    the changes in between: start a new watch.
    """

    def __init__(self, core: Core, request: task_service_pb2.WatchTasksRequest) -> None:
        self._core = core
        self._request = request
        self._request.namespace = core.namespace
        self._unread: list[Task | Left | Progress] = []
        self._told = request.revision  # Everything up to here was handed on before the unread events.
        self._are_changes = False  # The unread events, and not a snapshot.
        self._shared: SharedChannel | None = None
        self._call: Any = None
        self._patience = Patience(core.connection.patience_s)
        self._opened_at = 0.0
        self.is_snapshot_done = bool(request.revision)

    @property
    def revision(self) -> int:
        """Everything up to here was handed to you, once `is_snapshot_done`."""
        return self._told if self._unread else self._request.revision

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Task | Left | Progress:
        while not self._unread:
            try:
                frame = await io_thread().call(self._frame())
            except BaseException:
                io_thread().start_call(self._end())
                raise
            self._take(frame)
        event = self._unread.pop()
        if self._are_changes and isinstance(event, Task):
            self._told = event.revision
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the stream."""
        await io_thread().call(self._end())

    def _take(self, frame: task_service_pb2.WatchTasksResponse) -> None:
        for event in reversed(frame.events):
            kind = event.WhichOneof("event")
            if kind == "task":
                self._unread.append(task_of(event.task))
            elif kind == "left":
                self._unread.append(Left(event.left))
            elif kind == "progress":
                self._unread.append(progress_of(event.progress))
        self._told = self._request.revision
        self._are_changes = self.is_snapshot_done
        if frame.revision:
            self._request.revision = frame.revision
        self.is_snapshot_done = self.is_snapshot_done or frame.snapshot_done

    # On the I/O thread. One frame is read when the user has read the one before: a slow
    # reader fills its own window on the server, and is told so there.

    async def _frame(self) -> task_service_pb2.WatchTasksResponse:
        loop = asyncio.get_running_loop()
        while True:
            try:
                frame = await self._open().read()
            except grpc.aio.AioRpcError as failure:
                error = error_of_call(failure)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                raise ClientClosed("the watch was closed") from None
            else:
                if frame is not grpc.aio.EOF and frame is not None:
                    self._patience.worked()
                    arrived: task_service_pb2.WatchTasksResponse = frame
                    return arrived
                error = unreadable() if frame is None else await self._ending()
            await self._end()
            if loop.time() - self._opened_at > LASTED_S:
                self._patience.worked()
            delay_s = self._patience.next_s(loop.time(), error.retry_after)
            if delay_s is None or not is_worth_reopening(error):
                raise error
            await asyncio.sleep(delay_s)

    def _open(self) -> Any:
        if self._call is None:
            self._core.connection.check_open()
            self._shared = CHANNELS.acquire(self._core.connection.target)
            stub = self._core.connection.tasks_on(self._shared.channel)
            self._opened_at = asyncio.get_running_loop().time()
            self._call = stub.WatchTasks(self._request, metadata=self._core.connection.metadata)
        return self._call

    async def _ending(self) -> Refused:
        call = self._call
        return error_of_status(await call.code(), await call.details() or "", await call.trailing_metadata())

    async def _end(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        shared, self._shared = self._shared, None
        if shared is not None:
            await CHANNELS.release(shared)
