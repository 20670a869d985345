"""The client for programs without asyncio: the same calls, blocking.

Usable from any thread, several at once. Not from a coroutine: use `Client`
there.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, overload

from upbeat.channel import Tls, address_or_default, namespace_or_default, target_of
from upbeat.client import PAGE_SIZE, publish_request
from upbeat.collaboration.calls import Grade, id_of
from upbeat.core import Core
from upbeat.errors import ClientClosed, CollaborationFailed
from upbeat.group import Published, published_of
from upbeat.handle import merged_options, output_of
from upbeat.io_thread import io_thread
from upbeat.message import Message
from upbeat.skill import In, Kind, Out, as_kind
from upbeat.spec import Seconds, TaskOptions, WholeOptions, seconds_of, spec_of
from upbeat.submission import Submission
from upbeat.subscription import Reader
from upbeat.task import Task, task_of
from upbeat.v1 import collaboration_service_pb2, stats_pb2, stats_service_pb2, task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping

    from upbeat.collaboration.consensus import Consensus, Verdict

T = TypeVar("T")


def _wait(coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
    """Run it on the I/O thread; Ctrl-C here cancels it there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        coroutine.close()
        raise RuntimeError("a SyncClient would block this event loop: use upbeat.Client in coroutines")
    future = io_thread().start_call(coroutine)
    try:
        return future.result(timeout_s)
    except CancelledError:
        raise ClientClosed("the client was closed") from None
    except BaseException:
        future.cancel()
        raise


def _concluded(core: Core, finished: task_service_pb2.TaskFinished, kind: Kind[Any, Out]) -> Out:
    try:
        return output_of(finished, kind)
    except CollaborationFailed as failure:
        failure.collaboration = _wait(core.collaboration(finished.task_id))
        raise


class SyncTaskHandle(Generic[Out]):
    """A submitted task; see `TaskHandle`."""

    def __init__(self, core: Core, skill: Kind[Any, Out], submission: Submission) -> None:
        self.task_id = submission.task_id
        self.skill = skill
        self._core = core
        self._submission = submission

    def __repr__(self) -> str:
        return f"SyncTaskHandle({self.task_id!r}, {self.skill.name!r})"

    def result(self, timeout: float | None = None) -> Out:
        """The output, once the task has ended.

        Raises what `TaskHandle.result` raises, and TimeoutError after `timeout`
        seconds of waiting, which changes nothing for the task.
        """
        return _concluded(self._core, _wait(self._core.attached(self._submission), timeout), self.skill)


class SyncClient:
    """A connection to a server, for one namespace; parameters as for `Client`."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the streams and give the channel back."""
        _wait(self._core.close())

    @overload
    def submit(
        self,
        skill: Kind[In, Out],
        value: In,
        *,
        timeout: Seconds | None = ...,
        request_id: str = ...,
        **options: Unpack[TaskOptions],
    ) -> SyncTaskHandle[Out]: ...

    @overload
    def submit(
        self,
        skill: str,
        value: Any = ...,
        *,
        timeout: Seconds | None = ...,
        request_id: str = ...,
        **options: Unpack[TaskOptions],
    ) -> SyncTaskHandle[Any]: ...

    def submit(
        self,
        skill: Kind[Any, Any] | str,
        value: Any = None,
        *,
        timeout: Seconds | None = None,
        request_id: str = "",
        **options: Unpack[TaskOptions],
    ) -> SyncTaskHandle[Any]:
        """Submit a task, as `Client.submit` does."""
        kind = as_kind(skill)
        spec = spec_of(kind, value, merged_options(options, timeout))
        submission = Submission(spec, request_id, may_overflow=True)
        _wait(self._core.accepted(submission))
        return SyncTaskHandle(self._core, kind, submission)

    @overload
    def run(
        self,
        skill: Kind[In, Out],
        value: In,
        *,
        timeout: Seconds | None = ...,
        request_id: str = ...,
        **options: Unpack[TaskOptions],
    ) -> Out: ...

    @overload
    def run(
        self,
        skill: str,
        value: Any = ...,
        *,
        timeout: Seconds | None = ...,
        request_id: str = ...,
        **options: Unpack[TaskOptions],
    ) -> Any: ...

    def run(
        self,
        skill: Kind[Any, Any] | str,
        value: Any = None,
        *,
        timeout: Seconds | None = None,
        request_id: str = "",
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Submit a task and wait for its output, as `Client.run` does; Ctrl-C cancels the task."""
        kind = as_kind(skill)
        merged = merged_options(options, timeout)
        submission = Submission(spec_of(kind, value, merged), request_id)
        limit = merged.get("total_timeout")
        limit_s = None if limit is None else seconds_of(limit, "timeout")
        return _concluded(self._core, _wait(self._core.finished(submission, limit_s)), kind)

    def consensus(
        self,
        kind: Consensus[In, Out],
        value: In,
        *,
        timeout: Seconds | None = None,
        request_id: str = "",
        **options: Unpack[WholeOptions],
    ) -> Verdict[Out]:
        """Hold a vote and wait for it: `up.consensus(upbeat.consensus(CLASSIFY, voters=5), doc)`."""
        handle = self.submit(kind, value, timeout=timeout, request_id=request_id, **options)
        _wait(self._core.attached(handle._submission))
        return kind.verdict(self.get(handle.task_id))

    def grade(self, task: Task | str, *, correct: bool) -> Grade:
        """Say whether the output of a completed task was right, as `Client.grade` does."""
        request = collaboration_service_pb2.GradeTaskRequest(task_id=id_of(task), correct=correct)
        response = _wait(self._core.collaborations("GradeTask", request))
        return Grade(response.agent_id, response.graded_count, response.correct_count)

    def get(self, task_id: str) -> Task:
        """A task with its input and output; raises TaskNotFound."""
        return task_of(_wait(self._core.got(task_id, is_patient=False)))

    def cancel(self, task_id: str, message: str = "") -> Task:
        """End a task as CANCELLED, as `Client.cancel` does."""
        request = task_service_pb2.CancelTaskRequest(task_id=task_id, message=message)
        return task_of(_wait(self._core.tasks("CancelTask", request)).task)

    def list(self, filter: str = "", *, newest_first: bool = False, full: bool = False) -> Iterator[Task]:  # noqa: A002
        """Tasks that match, page by page, as `Client.list` does."""
        request = task_service_pb2.ListTasksRequest(
            filter=filter,
            order_by="create_time desc" if newest_first else "create_time",
            page_size=PAGE_SIZE,
            view=task_pb2.TASK_VIEW_FULL if full else task_pb2.TASK_VIEW_BASIC,
        )
        while True:
            page = _wait(self._core.tasks("ListTasks", request))
            yield from map(task_of, page.tasks)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def publish(
        self,
        topic: str,
        value: Any,
        *,
        to: str = "",
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        publisher: str = "",
    ) -> Published:
        """Say something in a topic, as `Client.publish` does."""
        request = publish_request(topic, value, to, message_id, headers, publisher)
        return published_of(_wait(self._core.published(request)))

    def subscribe(self, topic: str, *, name: str = "", timeout: float | None = None) -> Iterator[Message]:
        """The messages of a topic, as `Client.subscribe` says; ends when none came for `timeout` seconds.

        Going on with the loop acknowledges the message before, leaving it does not:
        `message.ack_sync()` before you break.
        """
        reader = Reader(self._core, topic, name)
        _wait(reader.start())
        try:
            while (delivery := reader.box.next_sync(timeout)) is not None:
                message = Message(delivery, reader.handled)
                yield message
                message.ack_sync()
        finally:
            _wait(reader.close())

    def stats(self) -> stats_pb2.Stats:
        """How the namespace and its server are doing."""
        response = _wait(self._core.stats("GetStats", stats_service_pb2.GetStatsRequest()))
        stats: stats_pb2.Stats = response.stats
        return stats
