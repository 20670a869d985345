"""The part of a client that lives on the I/O thread: waiting, cancelling, calling.

Every coroutine here runs on that thread; the facades (`Client`, `SyncClient`)
bring them there and turn what they answer into Python values on the caller's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from upbeat.backoff import Patience
from upbeat.connection import CALL_TIMEOUT_S, Connection
from upbeat.errors import TopicFull, Unavailable, UpbeatError
from upbeat.outcome import CollaborationResult
from upbeat.stream import TaskStream
from upbeat.tracing import current_traceparent
from upbeat.v1 import task_service_pb2
from upbeat.watch import WatchHub

if TYPE_CHECKING:
    from upbeat.channel import Target
    from upbeat.submission import Submission
    from upbeat.subscription import Reader
    from upbeat.v1 import message_service_pb2

LONG_POLL_S = 60.0
ANSWER_MARGIN_S = 5.0
"""How much longer than a task's timeout to wait for the server to say how it ended."""


class Core:
    """One client's connection, stream and watches."""

    def __init__(self, target: Target, token: str | None, namespace: str, patience_s: float) -> None:
        self.namespace = namespace
        self.connection = Connection(target, token, namespace, patience_s)
        self.stream = TaskStream(self.connection)
        self.watches = WatchHub(self.connection)
        self.readers: dict[Reader, None] = {}  # In the order in which they began.
        self._errands: dict[asyncio.Task[None], None] = {}

    async def close(self) -> None:
        """End everything; whoever still waits gets ClientClosed."""
        if self._errands:  # Cancellations on their way get a moment: their callers count on them.
            await asyncio.wait(self._errands, timeout=1.0)
        for errand in self._errands:
            errand.cancel()
        for reader in list(self.readers):
            await reader.close()
        await self.stream.close()
        await self.watches.close()
        await self.connection.close()

    async def accepted(self, submission: Submission) -> None:
        """Submit, until the server has it durably; raises why it has not."""
        self.stream.add(submission)
        try:
            await submission.accepted()
        except asyncio.CancelledError:
            self.abandon(submission)
            raise
        if submission.error is not None and not submission.task_id:
            raise submission.error

    async def finished(
        self, submission: Submission, timeout_s: float | None
    ) -> task_service_pb2.TaskFinished:
        """Submit, until the task has ended; a caller that gives up cancels it."""
        self.stream.add(submission)
        try:
            async with asyncio.timeout(None if timeout_s is None else timeout_s + ANSWER_MARGIN_S):
                await submission.settled()
        except TimeoutError:
            self.abandon(submission)
            raise Unavailable(
                f"no answer within the timeout of {timeout_s:g} s; how the task ended is not known",
                code="UNAVAILABLE",
            ) from None
        except asyncio.CancelledError:
            self.abandon(submission)
            raise
        return _finished_of(submission)

    async def attached(self, submission: Submission) -> task_service_pb2.TaskFinished:
        """The end of an accepted submission; giving up changes nothing for the task."""
        self.stream.attach(submission)
        await submission.settled()
        return _finished_of(submission)

    def abandon(self, submission: Submission) -> None:
        """Nobody wants it any more: cancel it, as far as it has come."""
        if self.stream.withdraw(submission) or submission.is_settled or self.connection.is_closed:
            return
        errand = asyncio.get_running_loop().create_task(self._cancel_when_accepted(submission))
        self._errands[errand] = None
        errand.add_done_callback(self._errands.pop)

    async def _cancel_when_accepted(self, submission: Submission) -> None:
        await submission.accepted()
        if not submission.task_id or submission.is_settled:
            return
        request = task_service_pb2.CancelTaskRequest(
            task_id=submission.task_id, message="the caller went away"
        )
        try:
            await self.tasks("CancelTask", request)
        except UpbeatError:
            return  # It has ended, or the server is gone: there is nobody left to tell.

    async def tasks(self, method: str, request: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """A unary call of TaskService."""
        return await self._call("tasks", method, request, timeout_s)

    async def agents(self, method: str, request: Any) -> Any:
        """A unary call of AgentService."""
        return await self._call("agents", method, request, CALL_TIMEOUT_S)

    async def messages(self, method: str, request: Any) -> Any:
        """A unary call of MessageService."""
        return await self._call("messages", method, request, CALL_TIMEOUT_S)

    async def published(self, request: message_service_pb2.PublishRequest) -> Any:
        """Publish, waiting while the topic is full, as long as the client is patient."""
        loop = asyncio.get_running_loop()
        patience = Patience(self.connection.patience_s)
        while True:
            try:
                return await self.messages("Publish", request)
            except TopicFull as error:
                delay_s = patience.next_s(loop.time(), error.retry_after)
                if delay_s is None:
                    raise
                await asyncio.sleep(delay_s)

    async def stats(self, method: str, request: Any) -> Any:
        """A unary call of StatsService."""
        return await self._call("stats", method, request, CALL_TIMEOUT_S)

    async def collaborations(self, method: str, request: Any) -> Any:
        """A unary call of CollaborationService."""
        return await self._call("collaborations", method, request, CALL_TIMEOUT_S)

    async def _call(self, service: str, method: str, request: Any, timeout_s: float) -> Any:
        request.namespace = self.namespace
        stub = getattr(self.connection, service)
        traceparent = current_traceparent()  # The caller's, whose context came along to this thread.
        return await self.connection.call(getattr(stub, method), request, timeout_s, traceparent)

    async def got(self, task_id: str, *, is_patient: bool) -> Any:
        """A task as it is; with patience, when it has ended or the long poll is over."""
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        if is_patient:
            request.wait.FromSeconds(round(LONG_POLL_S))
        response = await self.tasks("GetTask", request, CALL_TIMEOUT_S + (LONG_POLL_S if is_patient else 0.0))
        return response.task

    async def collaboration(self, task_id: str) -> CollaborationResult | None:
        """What a collaboration came to; None where the server does not say."""
        try:
            task = await self.got(task_id, is_patient=False)
        except UpbeatError:
            return None  # It is only asked for to tell more of a failure that is known.
        has_result = task.HasField("collaboration_result")
        return CollaborationResult.of(task.collaboration_result) if has_result else None


def _finished_of(submission: Submission) -> task_service_pb2.TaskFinished:
    if submission.finished is None:
        assert submission.error is not None  # noqa: S101 - settled is one or the other
        raise submission.error
    return submission.finished
