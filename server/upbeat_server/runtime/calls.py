"""Calls that wait for an answer of the engine: one future each, however many tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from upbeat_server.engine.commands import AckPublish, DeadLettersAnswered
from upbeat_server.engine.model import Refusal
from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.snapshot import AgentSnapshot, TaskSnapshot

if TYPE_CHECKING:
    from upbeat_server.engine.task import Task
    from upbeat_server.runtime.namespace import Namespace

T = TypeVar("T")


class PendingCall(Generic[T]):
    """A call that waits; the answer is a value or a refusal."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def resolve(self, value: T) -> None:
        """Answer it, unless it was answered or nobody waits any more."""
        if not self.answer.done():
            self.answer.set_result(value)

    def fail(self, refusal: Refusal) -> None:
        """Refuse it."""
        if not self.answer.done():
            self.answer.set_exception(Refused(refusal))


class SubmitCall(PendingCall[list[TaskSnapshot | Refusal]]):
    """A submission of one or many tasks; answered when each has its answer."""

    def __init__(self, namespace: Namespace, count: int) -> None:
        super().__init__(namespace)
        self._answers: list[TaskSnapshot | Refusal | None] = [None] * count
        self._missing = count

    def submitted(self, index: int, task: Task) -> None:
        """A submission is the task; ``tell_accepted`` follows in the same turn."""
        self._answers[index] = self.namespace.snapshot(task)
        self._missing -= 1

    def tell_accepted(self) -> None:
        """All that the turn accepted was brought."""
        self._answer_if_complete()

    def known(self, index: int, snapshot: TaskSnapshot) -> None:
        """A submission repeats a finished task."""
        self._put(index, snapshot)

    def submission_refused(self, index: int, refusal: Refusal) -> None:
        """A submission had no effect."""
        self._put(index, refusal)

    def _put(self, index: int, answer: TaskSnapshot | Refusal) -> None:
        self._answers[index] = answer
        self._missing -= 1
        self._answer_if_complete()

    def _answer_if_complete(self) -> None:
        if not self._missing:
            self.resolve([answer for answer in self._answers if answer is not None])


class CancelCall(PendingCall[TaskSnapshot]):
    """A wish to cancel a task."""


class ItemsCall(PendingCall[int]):
    """Items for an open pipeline, or their end; answered with how many there are."""


class Standing(msgspec.Struct, frozen=True):
    """How an agent stands with graded tasks of a type."""

    agent_id: str
    graded: int
    correct: int


class GradeCall(PendingCall[Standing]):
    """A grade of a finished task."""


class PublishCall(PendingCall[AckPublish]):
    """A message for a topic."""


class RuleCall(PendingCall[DeadLettersAnswered]):
    """A wish to drop dead letters, or to send them again."""


class PauseCall(PendingCall[tuple[str, ...]]):
    """A wish to pause a type, or to resume it; answered with all that are paused."""


class DrainCall(PendingCall[AgentSnapshot]):
    """A wish to drain an agent."""
