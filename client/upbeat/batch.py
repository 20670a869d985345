"""Submissions by BatchSubmitTasks: whatever gathers while one call is in flight is the next.

For submissions that only want their task to exist and must not wait for others
to finish. Runs on the I/O thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from upbeat.errors import ClientClosed, InternalError, UpbeatError
from upbeat.refusal import error_of_refusal
from upbeat.v1 import task_service_pb2

if TYPE_CHECKING:
    from upbeat.connection import Connection
    from upbeat.submission import Submission

ITEMS_MAX = 500
BYTES_MAX = 2 << 20


class BatchSubmitter:
    """One call at a time, as large as there is need."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[Submission] = deque()
        self._runner: asyncio.Task[None] | None = None

    def add(self, submission: Submission) -> None:
        """Send it with the next call; watch the submission for what comes of it."""
        self._waiting.append(submission)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())

    def close(self) -> None:
        """Stop; whatever waits fails with ClientClosed."""
        if self._runner is not None:
            self._runner.cancel()

    async def _run(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                await self._send(batch)
            except Exception as error:
                failure = (
                    error
                    if isinstance(error, UpbeatError)
                    else InternalError(f"the client failed: {error!r}")
                )
                for submission in batch:
                    submission.fail(failure)
            except asyncio.CancelledError:
                closed = ClientClosed("the client was closed before the server answered")
                for submission in [*batch, *self._waiting]:
                    submission.fail(closed)
                self._waiting.clear()
                raise

    def _take(self) -> list[Submission]:
        batch: list[Submission] = []
        size = 0
        while self._waiting and len(batch) < ITEMS_MAX:
            size += self._waiting[0].size
            if batch and size > BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[Submission]) -> None:
        request = task_service_pb2.BatchSubmitTasksRequest(
            namespace=self._connection.namespace, requests=[submission.request for submission in batch]
        )
        response = await self._connection.call(self._connection.tasks.BatchSubmitTasks, request)
        for submission, result in zip(batch, response.results, strict=True):
            if result.WhichOneof("result") == "task":
                submission.accept(result.task.task_id)
            else:
                submission.fail(error_of_refusal(result.error))
