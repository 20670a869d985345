"""What a caller holds of a submitted task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from upbeat.errors import CollaborationFailed
from upbeat.io_thread import io_thread
from upbeat.refusal import error_of_task
from upbeat.skill import Kind, Out
from upbeat.spec import seconds_of, spec_of
from upbeat.submission import Submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from upbeat.client import Client
    from upbeat.core import Core
    from upbeat.spec import Seconds
    from upbeat.task import Progress, Task
    from upbeat.v1 import task_service_pb2


class TaskHandle(Generic[Out]):
    """A task of this namespace: ask for its result, follow it, cancel it.

    Dropping the handle changes nothing for the task.
    """

    def __init__(
        self, client: Client, skill: Kind[Any, Out], task_id: str, submission: Submission | None = None
    ) -> None:
        self.task_id = task_id
        self.skill = skill
        self._client = client
        self.submission = submission

    def __repr__(self) -> str:
        return f"TaskHandle({self.task_id!r}, {self.skill.name!r})"

    async def result(self) -> Out:
        """The output, once the task has ended; may be asked for again and again.

        Raises TaskFailed (TaskTimedOut, StepFailed, NoConsensus, ...), TaskCancelled, CodecError if the
        output does not fit the skill, and Unavailable. Giving up waiting does
        not cancel the task.
        """
        return await self._client._result(self)

    async def get(self) -> Task:
        """The task as it is now; raises TaskNotFound."""
        return await self._client.get(self.task_id)

    async def cancel(self, message: str = "") -> Task:
        """End the task as CANCELLED; raises TaskFinished if it has ended otherwise."""
        return await self._client.cancel(self.task_id, message)

    def updates(self) -> AsyncIterator[Task | Progress]:
        """Every change of the task, and what its attempts report, until it has ended.

        Begins with the task as it is; ends after its last change. Progress may
        be coalesced, changes are not.
        """
        return self._client._updates(self.task_id)

    def children(self, *, full: bool = False) -> AsyncIterator[Task]:
        """The children of a collaboration so far, oldest first; none of single work.

        `full` brings inputs and outputs too. To follow them as they change, see
        `Client.watch` with `parent_task_id`.
        """
        return self._client.list(f'parent = "{self.task_id}"', full=full)


def merged_options(options: Mapping[str, Any], timeout: Seconds | None) -> dict[str, Any]:
    """The options of a task, with the short form of its total timeout."""
    merged = dict(options)
    if timeout is not None:
        if "total_timeout" in merged:
            raise TypeError("timeout is short for total_timeout: give one of them")
        merged["total_timeout"] = timeout
    return merged


async def finished_of(
    core: Core, kind: Kind[Any, Any], value: Any, options: Mapping[str, Any], request_id: str
) -> task_service_pb2.TaskFinished:
    """Submit and wait for the end, whatever it is; a caller that is cancelled cancels the task."""
    submission = Submission(spec_of(kind, value, options), request_id)
    limit = options.get("total_timeout")
    limit_s = None if limit is None else seconds_of(limit, "timeout")
    finished: task_service_pb2.TaskFinished = await io_thread().call(core.finished(submission, limit_s))
    return finished


async def concluded(core: Core, finished: task_service_pb2.TaskFinished, kind: Kind[Any, Out]) -> Out:
    """As `output_of`; the error of a collaboration tells what it came to as well."""
    try:
        return output_of(finished, kind)
    except CollaborationFailed as failure:
        failure.collaboration = await io_thread().call(core.collaboration(finished.task_id))
        raise


def output_of(finished: task_service_pb2.TaskFinished, skill: Kind[Any, Out]) -> Out:
    """The output of a finished task; raises how else it ended."""
    error = error_of_task(finished.state, finished.error, finished.task_id, finished.attempt_count)
    if error is not None:
        raise error
    return skill.decode_output(finished.output)
