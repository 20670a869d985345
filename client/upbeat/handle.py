"""What a caller holds of a submitted task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from upbeat.refusal import error_of_task
from upbeat.skill import Out, Skill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upbeat.client import Client
    from upbeat.submission import Submission
    from upbeat.task import Progress, Task
    from upbeat.v1 import task_service_pb2


class TaskHandle(Generic[Out]):
    """A task of this namespace: ask for its result, follow it, cancel it.

    Dropping the handle changes nothing for the task.
    """

    def __init__(
        self, client: Client, skill: Skill[Any, Out], task_id: str, submission: Submission | None = None
    ) -> None:
        self.task_id = task_id
        self.skill = skill
        self._client = client
        self.submission = submission

    def __repr__(self) -> str:
        return f"TaskHandle({self.task_id!r}, {self.skill.name!r})"

    async def result(self) -> Out:
        """The output, once the task has ended; may be asked for again and again.

        Raises TaskFailed (TaskTimedOut), TaskCancelled, CodecError if the
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


def output_of(finished: task_service_pb2.TaskFinished, skill: Skill[Any, Out]) -> Out:
    """The output of a finished task; raises how else it ended."""
    error = error_of_task(finished.state, finished.error, finished.task_id, finished.attempt_count)
    if error is not None:
        raise error
    return skill.decode_output(finished.output)
