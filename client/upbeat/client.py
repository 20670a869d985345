"""The client: submit tasks, follow them, and look at the fleet.

A Client belongs to no event loop: its gRPC runs on the process's I/O thread,
and its coroutines can be awaited on any loop. Encoding and decoding of values
happen where the caller awaits.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from upbeat.agent_calls import AgentCalls
from upbeat.channel import Tls, address_or_default, namespace_or_default, target_of
from upbeat.codec import encode
from upbeat.collaboration.calls import CollaborationCalls
from upbeat.core import Core
from upbeat.flow import Done, Flow
from upbeat.group import Published, published_of
from upbeat.handle import TaskHandle, concluded, finished_of, merged_options
from upbeat.io_thread import io_thread
from upbeat.skill import In, Kind, Out, as_kind
from upbeat.spec import Seconds, TaskOptions, spec_of
from upbeat.submission import Submission
from upbeat.subscription import Subscription
from upbeat.task import Task, task_of
from upbeat.updates import TaskWatch, updates
from upbeat.v1 import (
    message_service_pb2,
    stats_pb2,
    stats_service_pb2,
    task_pb2,
    task_service_pb2,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
    from types import TracebackType

    from upbeat.task import Progress

PAGE_SIZE = 500


class Client(CollaborationCalls, AgentCalls):
    """A connection to a server, for one namespace.

    `address` is HOST:PORT (default: UPBEAT_SERVER, else localhost:50051);
    `namespace` "" is UPBEAT_NAMESPACE, else `default`; `token` None is that of
    UPBEAT_TOKEN; `tls` is True for the system's roots, a `Tls`, False for none, or
    None for what UPBEAT_TLS_CA and UPBEAT_TLS say, as for the command line;
    `patience` is for how many seconds an unavailable server is tried again.
    Nothing is connected before the first call. Methods raise the classes of
    `upbeat.errors`.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        namespace: str = "",
        token: str | None = None,
        tls: Tls | bool | None = None,
        patience: float = 60.0,
    ) -> None:
        self._core = Core(
            target_of(address_or_default(address), tls), token, namespace_or_default(namespace), patience
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the streams and give the channel back; whoever still waits gets ClientClosed."""
        await io_thread().call(self._core.close())

    @overload
    async def submit(
        self,
        skill: Kind[In, Out],
        value: In,
        *,
        timeout: Seconds | None = ...,  # noqa: ASYNC109
        request_id: str = ...,
        **options: Unpack[TaskOptions],
    ) -> TaskHandle[Out]: ...

    @overload
    async def submit(
        self,
        skill: str,
        value: Any = ...,
        *,
        timeout: Seconds | None = ...,  # noqa: ASYNC109
        request_id: str = ...,
        **options: Unpack[TaskOptions],
    ) -> TaskHandle[Any]: ...

    async def submit(
        self,
        skill: Kind[Any, Any] | str,
        value: Any = None,
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109 - it bounds the task, not the call
        request_id: str = "",
        **options: Unpack[TaskOptions],
    ) -> TaskHandle[Any]:
        """Submit a task, single or a collaboration; returns once the server has accepted it durably.

        `timeout` is short for `total_timeout`. With a `request_id` the call may
        be repeated, even by another process, and yields the same task. Raises
        CodecError, InvalidField, QueueFull, DuplicateTask, Unavailable, ...
        """
        kind = as_kind(skill)
        spec = spec_of(kind, value, merged_options(options, timeout))
        submission = Submission(spec, request_id, may_overflow=True)
        await io_thread().call(self._core.accepted(submission))
        return TaskHandle(self, kind, submission.task_id, submission)

    @overload
    async def run(
        self,
        skill: Kind[In, Out],
        value: In,
        *,
        timeout: Seconds | None = ...,  # noqa: ASYNC109
        request_id: str = ...,
        **options: Unpack[TaskOptions],
    ) -> Out: ...

    @overload
    async def run(
        self,
        skill: str,
        value: Any = ...,
        *,
        timeout: Seconds | None = ...,  # noqa: ASYNC109
        request_id: str = ...,
        **options: Unpack[TaskOptions],
    ) -> Any: ...

    async def run(
        self,
        skill: Kind[Any, Any] | str,
        value: Any = None,
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109 - kept by the server, even if we die
        request_id: str = "",
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Submit a task, single or a collaboration, and wait for its output.

        `timeout` bounds the whole task (`total_timeout`): TaskTimedOut is
        raised when it is over. If the caller is cancelled, so is the task.
        Raises what `submit` and `TaskHandle.result` raise.
        """
        kind = as_kind(skill)
        merged = merged_options(options, timeout)
        finished = await finished_of(self._core, kind, value, merged, request_id)
        return await concluded(self._core, finished, kind)

    @overload
    def map(
        self,
        skill: Kind[In, Out],
        values: Iterable[In] | AsyncIterable[In],
        *,
        in_flight: int = ...,
        **options: Unpack[TaskOptions],
    ) -> AsyncGenerator[Done[In, Out], None]: ...

    @overload
    def map(
        self,
        skill: str,
        values: Iterable[Any] | AsyncIterable[Any],
        *,
        in_flight: int = ...,
        **options: Unpack[TaskOptions],
    ) -> AsyncGenerator[Done[Any, Any], None]: ...

    def map(
        self,
        skill: Kind[Any, Any] | str,
        values: Iterable[Any] | AsyncIterable[Any],
        *,
        in_flight: int = 100,
        **options: Unpack[TaskOptions],
    ) -> AsyncGenerator[Done[Any, Any], None]:
        """A task for each value, at most `in_flight` at once; yields each as it ends.

        Each `Done` says which value it is of; its `output` raises if that task
        failed, the others go on. Where the server's queue is full, it waits.
        Leaving the loop early cancels the tasks that have not ended.
        """
        if in_flight < 1:
            raise ValueError(f"in_flight={in_flight}: at least 1 is expected")
        return Flow(self._core, as_kind(skill), values, in_flight, merged_options(options, None)).run()

    def task(self, task_id: str, skill: Kind[Any, Out] | None = None) -> TaskHandle[Out]:
        """A handle for a task that was submitted elsewhere; asks nothing of the server."""
        return TaskHandle(self, skill or as_kind("unknown"), task_id)

    async def get(self, task_id: str) -> Task:
        """A task with its input and output; raises TaskNotFound."""
        return task_of(await io_thread().call(self._core.got(task_id, is_patient=False)))

    async def list(
        self,
        filter: str = "",  # noqa: A002 - the contract's name
        *,
        newest_first: bool = False,
        full: bool = False,
    ) -> AsyncIterator[Task]:
        """Tasks that match, oldest first, fetched page by page: `async for task in up.list(...)`.

        `filter` is as in ListTasks: `state = QUEUED AND labels.team = "a"`. Not
        a snapshot. `full` brings inputs and outputs too. Raises InvalidField.
        """
        request = task_service_pb2.ListTasksRequest(
            filter=filter,
            order_by="create_time desc" if newest_first else "create_time",
            page_size=PAGE_SIZE,
            view=task_pb2.TASK_VIEW_FULL if full else task_pb2.TASK_VIEW_BASIC,
        )
        while True:
            page = await io_thread().call(self._core.tasks("ListTasks", request))
            for task in page.tasks:
                yield task_of(task)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def cancel(self, task_id: str, message: str = "") -> Task:
        """End a task as CANCELLED; its agent is told at once. OK for a CANCELLED one.

        Raises TaskNotFound, and TaskFinished for one that ended otherwise.
        """
        request = task_service_pb2.CancelTaskRequest(task_id=task_id, message=message)
        response = await io_thread().call(self._core.tasks("CancelTask", request))
        return task_of(response.task)

    async def explain(self, task_id: str) -> task_service_pb2.ExplainTaskResponse:
        """Why a task waits, or why its agent was chosen; raises TaskNotFound."""
        request = task_service_pb2.ExplainTaskRequest(task_id=task_id)
        response: task_service_pb2.ExplainTaskResponse = await io_thread().call(
            self._core.tasks("ExplainTask", request)
        )
        return response

    def watch(
        self,
        filter: str = "",  # noqa: A002 - the contract's name
        *,
        parent_task_id: str = "",
        revision: int = 0,
        progress: bool = False,
        full: bool = False,
    ) -> TaskWatch:
        """Every task that matches, then every change in commit order, until you leave.

        See `TaskWatch`. Opens a stream of its own. With a `revision` it goes on
        after it, without a snapshot.
        """
        request = task_service_pb2.WatchTasksRequest(
            revision=revision,
            progress=progress,
            view=task_pb2.TASK_VIEW_FULL if full else task_pb2.TASK_VIEW_BASIC,
        )
        if filter and parent_task_id:
            raise ValueError("a watch is either of a filter or of a parent's children")
        if filter:
            request.filter = filter
        elif parent_task_id:
            request.parent_task_id = parent_task_id
        return TaskWatch(self._core, request)

    async def publish(
        self,
        topic: str,
        value: Any,
        *,
        to: str = "",
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        publisher: str = "",
    ) -> Published:
        """Say something to everybody who reads a topic, or to one of them (`to`); returns once it is kept.

        Waits while the topic is full, as long as the client is patient, and says it
        again until it is answered. With a `message_id` of your own another process
        may repeat it: it is heard once. Raises CodecError, InvalidField,
        SubscriberNotFound, TopicFull, Unavailable, ...
        """
        request = publish_request(topic, value, to, message_id, headers, publisher)
        return published_of(await io_thread().call(self._core.published(request)))

    def subscribe(self, topic: str, *, name: str = "") -> Subscription:
        """The messages of a topic: `async for message in up.subscribe("news", name="me")`.

        A `name` is durable: from its first subscription on, messages are kept for it
        until it acknowledges them, also while it is away. Without one it hears what
        is published while it listens. See `Subscription`.
        """
        return Subscription(self._core, topic, name)

    async def stats(self) -> stats_pb2.Stats:
        """How the namespace and its server are doing."""
        response = await io_thread().call(self._core.stats("GetStats", stats_service_pb2.GetStatsRequest()))
        stats: stats_pb2.Stats = response.stats
        return stats

    async def _result(self, handle: TaskHandle[Out]) -> Out:
        if handle.submission is not None:
            finished = await io_thread().call(self._core.attached(handle.submission))
            return await concluded(self._core, finished, handle.skill)
        while True:
            task = task_of(await io_thread().call(self._core.got(handle.task_id, is_patient=True)))
            if task.state.is_final:
                output: Out = task.result(handle.skill)
                return output

    def _updates(self, task_id: str) -> AsyncIterator[Task | Progress]:
        return updates(self._core, task_id)


def publish_request(
    topic: str, value: Any, to: str, message_id: str, headers: Mapping[str, str] | None, publisher: str
) -> message_service_pb2.PublishRequest:
    """A message for a topic; with an id, so that it can be said again."""
    return message_service_pb2.PublishRequest(
        topic=topic,
        payload=encode(value),
        message_id=message_id or uuid.uuid4().hex,
        to=to,
        headers=headers,
        publisher=publisher,
    )
