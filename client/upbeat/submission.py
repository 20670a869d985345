"""One submission on its way to becoming a task, and on to that task's end."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from upbeat.v1 import task_service_pb2, task_spec_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat.errors import UpbeatError


class Submission:
    """Built on any thread; from then on only the I/O thread touches it.

    `task_id` is set once the server has accepted it durably, `finished` or
    `error` once it is settled; `error` before a task_id means that there is no
    task, but for Unavailable and ClientClosed, where the outcome is not known.
    """

    __slots__ = (
        "_accepted_calls",
        "_settled_calls",
        "error",
        "finished",
        "give_up_at",
        "is_patient",
        "may_overflow",
        "request",
        "size",
        "task_id",
    )

    def __init__(
        self,
        spec: task_spec_pb2.TaskSpec,
        request_id: str = "",
        *,
        is_patient: bool = False,
        may_overflow: bool = False,
    ) -> None:
        self.request = task_service_pb2.SubmitTaskRequest(
            spec=spec, request_id=request_id or uuid.uuid4().hex
        )
        self.size = self.request.ByteSize()
        self.is_patient = is_patient  # Waits while the server's bounds are hit, instead of failing.
        self.may_overflow = may_overflow  # Need not wait for room on the stream.
        self.give_up_at: float | None = None  # When an unavailable server is no longer asked again.
        self.task_id = ""
        self.finished: task_service_pb2.TaskFinished | None = None
        self.error: UpbeatError | None = None
        self._accepted_calls: list[Callable[[], object]] = []
        self._settled_calls: list[Callable[[], object]] = []

    @property
    def request_id(self) -> str:
        """What makes it safe to repeat."""
        return self.request.request_id

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will come."""
        return self.finished is not None or self.error is not None

    def accept(self, task_id: str) -> None:
        """The server has it."""
        if self.task_id or self.is_settled:
            return
        self.task_id = task_id
        self.request.ClearField("spec")  # It may be large, and is not sent again.
        self._run(self._accepted_calls)

    def finish(self, finished: task_service_pb2.TaskFinished) -> None:
        """Its task has ended."""
        if not self.is_settled:
            self.task_id = finished.task_id
            self.finished = finished
            self._settle()

    def fail(self, error: UpbeatError) -> None:
        """Nothing will come of it, or nothing that can be known."""
        if not self.is_settled:
            self.error = error
            self._settle()

    def settle_as(self, other: Submission) -> None:
        """It is the same task as another's."""
        if other.finished is not None:
            self.finish(other.finished)
        elif other.error is not None:
            self.fail(other.error)

    def _settle(self) -> None:
        self._run(self._accepted_calls)
        self._run(self._settled_calls)

    @staticmethod
    def _run(calls: list[Callable[[], object]]) -> None:
        todo, calls[:] = calls[:], []
        for call in todo:
            call()

    def when_accepted(self, call: Callable[[], object]) -> None:
        """Have `call()` run on the I/O thread once it has a task_id or is settled."""
        self._accepted_calls.append(call)

    def when_settled(self, call: Callable[[], object]) -> None:
        """Have `call()` run on the I/O thread once it is settled, or now if it is."""
        if self.is_settled:
            call()
        else:
            self._settled_calls.append(call)

    async def accepted(self) -> None:
        """Until it has a task_id or an error."""
        if not self.task_id and not self.is_settled:
            await _called(self._accepted_calls)

    async def settled(self) -> None:
        """Until it is settled."""
        if not self.is_settled:
            await _called(self._settled_calls)


async def _called(calls: list[Callable[[], object]]) -> None:
    future = asyncio.get_running_loop().create_future()

    def call() -> None:
        if not future.done():
            future.set_result(None)

    calls.append(call)
    try:
        await future
    finally:
        if call in calls:
            calls.remove(call)
