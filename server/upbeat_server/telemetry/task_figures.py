"""How long tasks wait, run and take, by priority and type.

Callers choose types, and every label value is kept for ever by whoever scrapes: a namespace
names at most ``types_max`` of them, all namespaces together at most ``NAMED_MAX``. First come,
first named; what came later is counted as ``other``, in the sums but not by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from upbeat_server.engine.model import NO_USAGE, TaskState
from upbeat_server.telemetry.windows import Buckets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.task import Task

OTHER: Final = "other"
COLLABORATION: Final = "collaboration"
"""Where collaborations count, which have no type; their children have."""
NAMED_MAX: Final = 500
"""Types that are named over all namespaces: each is some 50 series for each priority that it has."""

TASK_SECONDS: Final[tuple[float, ...]] = (
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0,
)  # fmt: skip
"""Upper bounds of buckets, from an echo to an afternoon of an agent's work."""

COMPLETED: Final = TaskState.COMPLETED
STATES: Final = len(TaskState) + 1


class TypeNames:
    """The types that are named in one namespace."""

    def __init__(self, types_max: int, allowance: Allowance) -> None:
        self._named: dict[str, None] = {}
        self._types_max = types_max
        self._allowance = allowance

    def label(self, task_type: str) -> str:
        """The type itself, or ``other`` when there are too many."""
        if task_type in self._named:
            return task_type
        if not task_type:
            return COLLABORATION
        if len(self._named) >= self._types_max or not self._allowance.take():
            return OTHER
        self._named[task_type] = None
        return task_type

    @property
    def labels(self) -> list[str]:
        """The types that are named, in the order in which they came."""
        return list(self._named)


class Allowance:
    """How many types may still be named in all namespaces together."""

    def __init__(self, left: int = NAMED_MAX) -> None:
        self.left = left

    def take(self) -> bool:
        """One less, if there is one."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True


class TaskFigures:
    """The tasks of one priority and type."""

    __slots__ = ("ended", "run", "runs_s", "total", "totals_s", "turn_ended", "usage", "wait")

    def __init__(self) -> None:
        self.ended = [0] * STATES  # By final state.
        self.wait = Buckets(TASK_SECONDS)
        self.run = Buckets(TASK_SECONDS)
        self.total = Buckets(TASK_SECONDS)
        self.usage = NO_USAGE  # What agents reported over all attempts of those that ended.
        # Of the turn that is being counted.
        self.turn_ended = [0] * STATES
        self.runs_s: list[float] = []
        self.totals_s: list[float] = []

    def close_turn(self) -> None:
        """Count the turn's samples."""
        for state, count in enumerate(self.turn_ended):
            self.ended[state] += count
        self.run.add_all(self.runs_s)
        self.total.add_all(self.totals_s)
        self.turn_ended = [0] * STATES
        self.runs_s, self.totals_s = [], []


class TypedTasks:
    """The figures of one namespace by priority and type."""

    def __init__(self, types_max: int, allowance: Allowance) -> None:
        self.names = TypeNames(types_max, allowance)
        self._figures: dict[tuple[int, str], TaskFigures] = {}

    def of(self, priority: int, task_type: str) -> TaskFigures:
        """Where a task of this priority and type counts."""
        figures = self._figures.get((priority, task_type))
        if figures is None:
            key = (priority, self.names.label(task_type))
            figures = self._figures.get(key)
            if figures is None:
                figures = self._figures[key] = TaskFigures()
        return figures

    def items(self) -> list[tuple[int, str, TaskFigures]]:
        """Priority, type or ``other``, and figures."""
        return [(priority, task_type, figures) for (priority, task_type), figures in self._figures.items()]

    def leased(self, tasks: Iterable[Task]) -> None:
        """Tasks were handed out; the first time is the end of their wait."""
        figures = _NOWHERE
        priority, task_type = 0, ""
        waits_s: list[float] = []
        for task in tasks:
            record = task.record
            if record.attempt != 1:
                continue
            spec = task.spec
            if spec.type != task_type or spec.priority != priority:
                figures.wait.add_all(waits_s)
                waits_s = []
                priority, task_type = spec.priority, spec.type
                figures = self.of(priority, task_type)
            waits_s.append((record.start_ms - record.queued_since_ms) / 1_000)
        figures.wait.add_all(waits_s)

    def ended(self, tasks: Iterable[Task]) -> Iterable[TaskFigures]:
        """Tasks ended. Answers where they count; the caller closes the turn of each."""
        touched: dict[TaskFigures, None] = {}
        figures = _NOWHERE
        priority, task_type = 0, ""
        ended, runs_s, totals_s = figures.turn_ended, figures.runs_s, figures.totals_s
        for task in tasks:
            spec, record = task.spec, task.record
            # Neighbours are mostly alike: then nothing is looked up.
            if spec.type != task_type or spec.priority != priority:
                priority, task_type = spec.priority, spec.type
                figures = self.of(priority, task_type)
                touched[figures] = None
                ended, runs_s, totals_s = figures.turn_ended, figures.runs_s, figures.totals_s
            if record.usage is not NO_USAGE:
                figures.usage = figures.usage.plus(record.usage)
            state = record.state
            ended[state] += 1
            totals_s.append((record.end_ms - record.create_ms) / 1_000)
            if state == COMPLETED and record.attempts:
                last = record.attempts[-1]  # The accepted one: nothing follows it.
                runs_s.append((last.end_ms - last.start_ms) / 1_000)
        return touched


_NOWHERE: Final = TaskFigures()
"""Of the priority 0, which no task has."""
