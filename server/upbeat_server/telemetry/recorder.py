"""What the runtime tells of itself, kept as figures for stats and metrics.

The one implementation of ``runtime/observer.py`` that a server uses. It is
called on the hot path: everything here is an addition. Counts of tasks, agents
and attempts are not kept here: the engine has them (``engine/census.py``).
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, TypeAlias

from upbeat_server.clock import stopwatch_s
from upbeat_server.engine.model import TaskState
from upbeat_server.telemetry.task_figures import Allowance, TypedTasks
from upbeat_server.telemetry.windows import Distribution, Rate, Recent

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat_server.engine.model import Attempt
    from upbeat_server.engine.task import Task
    from upbeat_server.telemetry.tracer import Tracer

COMPLETED, FAILED = TaskState.COMPLETED, TaskState.FAILED


ATTEMPTS_KEPT: Final = 5_000
"""Ended attempts of a namespace: for looking at them, not a record."""


AgentAttempt: TypeAlias = "tuple[int, str, Attempt]"
"""An attempt with its task's id and type."""


class NamespaceFigures:
    """Rates, percentiles, histograms and the last attempts of one namespace."""

    __slots__ = ("attempts", "completed", "failed", "purged", "run", "submitted", "total", "typed", "wait")

    def __init__(self, typed: TypedTasks) -> None:
        self.submitted = Rate()
        self.completed = Rate()
        self.failed = Rate()
        self.wait = Recent()  # From submission to the first lease.
        self.run = Recent()  # The accepted attempt.
        self.total = Recent()  # From submission to the end.
        self.typed = typed
        self.purged = 0
        # Of tasks that have finished, in the order of their ends.
        self.attempts: deque[AgentAttempt] = deque(maxlen=ATTEMPTS_KEPT)


def _nothing() -> None:
    """Nobody listens."""


class Recorder:
    """The figures of a server since it started."""

    def __init__(self, stopwatch: Callable[[], float] = stopwatch_s, types_max: int = 20) -> None:
        """``types_max`` task types are named in the metrics of a namespace."""
        self._stopwatch = stopwatch
        self._types_max = types_max
        self._allowance = Allowance()
        self.namespaces: dict[str, NamespaceFigures] = {}  # The runtime bounds how many there are.
        self.turn = Distribution()
        self.commit = Distribution()
        self.dispatch = Distribution()
        self.events = 0
        self.rows = 0
        self.assigned_tasks = 0
        self.commits_failed: Counter[str] = Counter()
        self.purges_failed = 0
        self.refusals: Counter[tuple[str, str]] = Counter()  # By namespace and reason.
        self.streams_ended: Counter[tuple[str, str]] = Counter()  # By kind and reason.
        self.store_healthy = True
        self.on_store_health: Callable[[], None] = _nothing
        self.tracer: Tracer | None = None  # Set where tracing is on.
        self.began_s = stopwatch()

    def now_s(self) -> float:
        """The clock of all windows."""
        return self._stopwatch()

    def of(self, namespace: str) -> NamespaceFigures:
        """The figures of a namespace."""
        figures = self.namespaces.get(namespace)
        if figures is None:
            typed = TypedTasks(self._types_max, self._allowance)
            figures = self.namespaces[namespace] = NamespaceFigures(typed)
        return figures

    def turned(self, seconds: float, events: int) -> None:
        """A turn of the loop is over."""
        self.turn.add(seconds, self._stopwatch())
        self.events += events

    def committed(self, seconds: float, rows: int) -> None:
        """A commit succeeded."""
        self.commit.add(seconds, self._stopwatch())
        self.rows += rows

    def commit_failed(self, reason: str) -> None:
        """A commit failed."""
        self.commits_failed[reason] += 1

    def submitted(self, namespace: str, tasks: int) -> None:
        """Submissions were accepted."""
        self.of(namespace).submitted.add(tasks, self._stopwatch())

    def refused(self, namespace: str, reason: str) -> None:
        """A submission was refused."""
        self.refusals[namespace, reason] += 1

    def assigned(self, namespace: str, tasks: list[Task]) -> None:
        """Assignments were handed to outboxes."""
        self.assigned_tasks += len(tasks)
        self.of(namespace).typed.leased(tasks)

    def dispatched(self, seconds: float, tasks: int) -> None:  # noqa: ARG002
        """Assignments were taken by a stream's writer."""
        self.dispatch.add(seconds, self._stopwatch())

    def tasks_finished(self, namespace: str, tasks: list[Task]) -> None:
        """Tasks ended."""
        figures = self.of(namespace)
        now_s = self._stopwatch()
        completed = failed = 0
        keep = figures.attempts.append
        for task in tasks:
            for attempt in task.record.attempts:
                keep((task.task_id, task.spec.type, attempt))
        for typed in figures.typed.ended(tasks):
            completed += typed.turn_ended[COMPLETED]
            failed += typed.turn_ended[FAILED]
            figures.run.add_all(typed.runs_s, now_s)
            figures.total.add_all(typed.totals_s, now_s)
            typed.close_turn()
        if completed:
            figures.completed.add(completed, now_s)
        if failed:
            figures.failed.add(failed, now_s)
        waits_s = [
            (record.start_ms - record.create_ms) / 1_000 for task in tasks if (record := task.record).start_ms
        ]
        figures.wait.add_all(waits_s, now_s)

    def purged(self, namespace: str, tasks: int) -> None:
        """Finished tasks were forgotten."""
        self.of(namespace).purged += tasks

    def purge_failed(self) -> None:
        """Finished tasks that should be forgotten are still there."""
        self.purges_failed += 1

    def stream_ended(self, kind: str, reason: str) -> None:
        """The server ended a stream."""
        self.streams_ended[kind, reason] += 1

    def store_health(self, healthy: bool) -> None:
        """The store commits again, or no longer."""
        self.store_healthy = healthy
        self.on_store_health()
