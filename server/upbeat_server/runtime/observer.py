"""What the runtime tells telemetry: a protocol of hooks, and one that ignores them.

Hooks are called on the loop's hot path: they must not block, await or raise.
Durations are seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.model import TaskRecord, TaskSpec
    from upbeat_server.engine.task import Task


class AttemptTracer(Protocol):
    """Makes spans of attempts. Like the hooks, it neither blocks nor raises."""

    def traceparent(self, namespace: str, task: Task) -> str:
        """What the agent is told that the task is handed to now."""

    def committed(self, namespace: str, tasks: Iterable[Task]) -> None:
        """These tasks have changed, durably, and not again since."""

    def adopted(
        self, namespace: str, tasks: Iterable[Task], members: Iterable[tuple[TaskRecord, TaskSpec]]
    ) -> None:
        """A namespace was read from the store, with these members of collaborations that have ended."""


class Observer(Protocol):
    """Told of what happened, after it is durable."""

    @property
    def tracer(self) -> AttemptTracer | None:
        """What attempts are traced by; None while nothing is traced."""

    def turned(self, seconds: float, events: int) -> None:
        """A turn stepped through ``events`` events; the commit is not counted in."""

    def committed(self, seconds: float, rows: int) -> None:
        """A commit of ``rows`` rows succeeded."""

    def commit_failed(self, reason: str) -> None:
        """A commit failed: ``unavailable``, ``unknown`` or ``stale_epoch``."""

    def submitted(self, namespace: str, tasks: int) -> None:
        """Submissions were accepted."""

    def refused(self, namespace: str, reason: str) -> None:
        """A submission was refused by the engine."""

    def assigned(self, namespace: str, tasks: list[Task]) -> None:
        """Assignments of these tasks were put into outboxes; their records are as of the lease."""

    def dispatched(self, seconds: float, tasks: int) -> None:
        """A writer took assignments; ``seconds`` since the oldest one's turn began."""

    def tasks_finished(self, namespace: str, tasks: list[Task]) -> None:
        """Tasks ended; their records are final."""

    def purged(self, namespace: str, tasks: int) -> None:
        """Finished tasks were forgotten."""

    def purge_failed(self) -> None:
        """Finished tasks could not be forgotten; it is tried again later."""

    def stream_ended(self, kind: str, reason: str) -> None:
        """The server ended a stream (``agent``, ``watch``, ``submissions``) for a reason."""

    def store_health(self, healthy: bool) -> None:
        """Commits began to fail, or succeed again."""


class NullObserver:
    """An observer that ignores everything."""

    tracer: AttemptTracer | None = None

    def turned(self, seconds: float, events: int) -> None:
        """Ignore it."""

    def committed(self, seconds: float, rows: int) -> None:
        """Ignore it."""

    def commit_failed(self, reason: str) -> None:
        """Ignore it."""

    def submitted(self, namespace: str, tasks: int) -> None:
        """Ignore it."""

    def refused(self, namespace: str, reason: str) -> None:
        """Ignore it."""

    def assigned(self, namespace: str, tasks: list[Task]) -> None:
        """Ignore it."""

    def dispatched(self, seconds: float, tasks: int) -> None:
        """Ignore it."""

    def tasks_finished(self, namespace: str, tasks: list[Task]) -> None:
        """Ignore it."""

    def purged(self, namespace: str, tasks: int) -> None:
        """Ignore it."""

    def purge_failed(self) -> None:
        """Ignore it."""

    def stream_ended(self, kind: str, reason: str) -> None:
        """Ignore it."""

    def store_health(self, healthy: bool) -> None:
        """Ignore it."""
