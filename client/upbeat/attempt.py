"""One attempt: its handler, on the user's loop or in a thread, and how it ended.

The I/O thread starts and stops it; the handler never runs there. Whatever the
handler does, exactly one result comes of it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from upbeat.context import Context
from upbeat.errors import CodecError, Fail
from upbeat.group import Group
from upbeat.tracing import handling
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import payload_pb2
from upbeat.voice import Voice, bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat.group import Post
    from upbeat.io_thread import Crossing
    from upbeat.voice import Ear
    from upbeat.work import Work
    from upbeat.worker_threads import WorkerThreads

log = logging.getLogger("upbeat.agent")

MESSAGE_BYTES_MAX = 4_096


class Attempt:
    """A started attempt. `done` is called on the handler's thread with its result."""

    def __init__(
        self,
        assignment: wire.Assignment,
        work: Work,
        ear: Ear,
        done: Callable[[wire.AttemptResult], None],
        post: Post,
    ) -> None:
        self.task_id = assignment.task_id
        self.lease_id = assignment.lease_id
        self.handler = getattr(work.function, "__qualname__", repr(work.function))
        self.voice = Voice(assignment.lease_id, ear)
        self._assignment = assignment
        self._work = work
        self._done = done
        self._post = post
        self._cancelled = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._crossing: Crossing | None = None

    # On the I/O thread.

    def start(self, crossing: Crossing, threads: WorkerThreads) -> None:
        """Run the handler where it belongs."""
        if self._work.is_async:
            self._crossing = crossing
            crossing.post(self._start_task)
        else:
            threads.run(self._run_sync)

    def stop(self, reason: str) -> None:
        """Have the handler end, at once if it is async; only the first reason counts."""
        if self._cancelled.is_set():
            return
        self.voice.stop_reason = reason
        self._cancelled.set()
        self.voice.flow(is_flowing=False)
        if self._crossing is not None:
            self._crossing.post(self._cancel_task)

    def flow(self, *, is_flowing: bool) -> None:
        """Whether there is a stream that takes what the handler emits."""
        if not self._cancelled.is_set():
            self.voice.flow(is_flowing=is_flowing)

    # On the user's loop, or in a thread.

    def _start_task(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run_async(), name=f"upbeat-{self.lease_id}")
        self._task.add_done_callback(self._end_unbegun)

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end_unbegun(self, task: asyncio.Task[None]) -> None:
        """Report what was stopped before its first step: none of its code ran, not even ``except``."""
        if task.cancelled():
            self._done(self._failed(asyncio.CancelledError()))

    async def _run_async(self) -> None:
        try:
            with handling(self._assignment):
                result = self._completed(await self._work.function(*self._arguments()))
        except BaseException as error:
            self._done(self._failed(error))
            if isinstance(error, KeyboardInterrupt):
                raise  # SystemExit fails the attempt alone: other tasks run in this process.
        else:
            self._done(result)

    def _run_sync(self) -> None:
        try:
            if self._cancelled.is_set():
                raise asyncio.CancelledError
            with handling(self._assignment):
                result = self._completed(self._work.function(*self._arguments()))
        except BaseException as error:
            result = self._failed(error)
        self._done(result)

    def _arguments(self) -> tuple[Any, ...]:
        try:
            value = self._work.skill.decode_input(self._assignment.input)
        except CodecError as error:
            raise Fail("INVALID_INPUT", error.message, retryable=False) from error
        if not self._work.takes_context:
            return (value,)
        group = None
        if self._assignment.parent_task_id:
            group = Group(self._assignment, self._post, self._cancelled)
        return (value, Context(self._assignment, self.voice, self._cancelled, group))

    def _completed(self, output: Any) -> wire.AttemptResult:
        result = wire.AttemptResult(lease_id=self.lease_id, output=self._work.skill.encode_output(output))
        return self._with_usage(result)

    def _failed(self, error: BaseException) -> wire.AttemptResult:
        return self._with_usage(wire.AttemptResult(lease_id=self.lease_id, error=self._error_of(error)))

    def _with_usage(self, result: wire.AttemptResult) -> wire.AttemptResult:
        if self.voice.usage.ByteSize():
            result.usage.CopyFrom(self.voice.usage)
        return result

    def _error_of(self, error: BaseException) -> payload_pb2.Error:
        if isinstance(error, Fail):
            failure = payload_pb2.Error(
                reason=error.reason, message=bounded(error.message, MESSAGE_BYTES_MAX), details=error.details
            )
            if error.retryable is not None:
                failure.non_retryable = not error.retryable
            return failure
        if isinstance(error, asyncio.CancelledError) and self.voice.stop_reason:
            return payload_pb2.Error(reason=self.voice.stop_reason, message="the handler was cancelled")
        log.warning("task %s: its handler failed", self.task_id, exc_info=error)
        text = f"{type(error).__qualname__}: {error}" if str(error) else type(error).__qualname__
        return payload_pb2.Error(reason="HANDLER_FAILED", message=bounded(text, MESSAGE_BYTES_MAX))
