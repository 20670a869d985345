"""A task as callers see it: the state the server answered, in Python's types.

A `Task` is a picture of one moment and never changes; ask again for a newer one
(a higher `revision`).
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from upbeat import codec
from upbeat.errors import CollaborationFailed
from upbeat.outcome import CollaborationResult
from upbeat.refusal import error_of_task
from upbeat.v1 import task_pb2, task_spec_pb2

if TYPE_CHECKING:
    from upbeat.skill import Kind, Out


class TaskState(enum.StrEnum):
    """Where a task is in its life."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    WAITING = "WAITING"
    UNKNOWN = "UNKNOWN"
    """A state of a newer server."""

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED)


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why an attempt or a task failed."""

    reason: str
    message: str = ""
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try of a task on one agent; `outcome` is empty while it runs."""

    attempt: int
    agent_id: str
    lease_id: str
    start_time: dt.datetime | None
    end_time: dt.datetime | None
    outcome: str
    error: TaskError | None


@dataclass(frozen=True, slots=True)
class Task:
    """A task at one moment. `message` is the contract's Task, with everything it has."""

    task_id: str
    namespace: str
    type: str
    state: TaskState
    priority: str
    labels: dict[str, str]
    attempt_count: int
    attempts: tuple[AttemptRecord, ...]
    progress: float
    progress_message: str
    error: TaskError | None
    create_time: dt.datetime | None
    start_time: dt.datetime | None
    end_time: dt.datetime | None
    revision: int
    request_id: str
    message: task_pb2.Task = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The name of the step that it is; empty for none."""
        return self.message.spec.name

    @property
    def parent_task_id(self) -> str:
        """The collaboration it is a child of; empty for none."""
        return self.message.parent_task_id

    @property
    def member(self) -> str:
        """What it is to that collaboration, such as `step/0` or `round/0/voter/2`."""
        return self.message.member

    @property
    def collaboration(self) -> CollaborationResult | None:
        """What a collaboration came to, once it has ended; None for single work."""
        if not self.message.HasField("collaboration_result"):
            return None
        return CollaborationResult.of(self.message.collaboration_result)

    def result(self, skill: Kind[Any, Out] | None = None) -> Out | Any:
        """The output of a COMPLETED task, as the skill's type if one is given.

        Raises TaskFailed or TaskCancelled for how else it ended, ValueError if
        it has not ended, and CodecError if the output does not fit. A task of a
        BASIC view has no output.
        """
        if not self.state.is_final:
            raise ValueError(f"task {self.task_id} is {self.state}")
        error = error_of_task(self.message.state, self.message.error, self.task_id, self.attempt_count)
        if isinstance(error, CollaborationFailed):
            error.collaboration = self.collaboration
        if error is not None:
            raise error
        return skill.decode_output(self.message.output) if skill else codec.decode(self.message.output)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running attempt said: how far it is, or a piece of its output.

    `sequence` counts the pieces of one attempt from 1; a gap means that pieces
    were left out, and 0 that there is none.
    """

    task_id: str
    attempt: int
    fraction: float
    message: str
    chunk: bytes
    sequence: int

    @property
    def text(self) -> str:
        """The piece of output as text."""
        return self.chunk.decode("utf-8", "replace")


def task_of(message: task_pb2.Task) -> Task:
    """The Python view of the contract's Task."""
    return Task(
        task_id=message.task_id,
        namespace=message.namespace,
        type=message.spec.type,
        state=state_of(message.state),
        priority=_short(task_spec_pb2.Priority, message.spec.priority, "PRIORITY_").replace(
            "UNSPECIFIED", "NORMAL"
        ),
        labels=dict(message.spec.labels),
        attempt_count=message.attempt_count,
        attempts=tuple(_attempt_of(attempt) for attempt in message.attempts),
        progress=message.progress,
        progress_message=message.progress_message,
        error=_error_of(message) if message.HasField("error") else None,
        create_time=_time_of(message, "create_time"),
        start_time=_time_of(message, "start_time"),
        end_time=_time_of(message, "end_time"),
        revision=message.revision,
        request_id=message.request_id,
        message=message,
    )


def _attempt_of(attempt: task_pb2.Attempt) -> AttemptRecord:
    outcome = _short(task_pb2.Attempt.Outcome, attempt.outcome, "OUTCOME_")
    return AttemptRecord(
        attempt=attempt.attempt,
        agent_id=attempt.agent_id,
        lease_id=attempt.lease_id,
        start_time=_time_of(attempt, "start_time"),
        end_time=_time_of(attempt, "end_time"),
        outcome="" if outcome == "UNSPECIFIED" else outcome,
        error=_error_of(attempt) if attempt.HasField("error") else None,
    )


def _error_of(holder: task_pb2.Task | task_pb2.Attempt) -> TaskError:
    return TaskError(holder.error.reason, holder.error.message, dict(holder.error.details))


def _time_of(message: Any, name: str) -> dt.datetime | None:
    if not message.HasField(name):
        return None
    time: dt.datetime = getattr(message, name).ToDatetime(tzinfo=dt.UTC)
    return time


def state_of(number: int) -> TaskState:
    """The state's name; UNKNOWN for one that this release does not know."""
    name = _short(task_pb2.Task.State, number, "STATE_")
    return TaskState(name) if name in TaskState.__members__ else TaskState.UNKNOWN


def _short(enum_type: Any, number: int, prefix: str) -> str:
    try:
        name: str = enum_type.Name(number)
    except ValueError:
        return str(number)
    return name.removeprefix(prefix)


def progress_of(message: Any) -> Progress:
    """The Python view of the contract's TaskProgress."""
    return Progress(
        task_id=message.task_id,
        attempt=message.attempt,
        fraction=message.fraction,
        message=message.message,
        chunk=message.chunk,
        sequence=message.sequence,
    )
