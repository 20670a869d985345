"""How often agents were right, by task type: what consensus weighs ballots with.

Weights are log-odds, the optimal weights of independent voters (Nitzan and Paroush,
1982), of a smoothed accuracy: ``log((k - 1) p / (1 - p))`` with k possible answers,
of which no more than three count.
An agent with fewer than ``GRADED_MIN`` outcomes weighs what the graded ones do on
average; while nobody has as many, all weigh 1, which is plurality.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GRADED_MIN = 20
"""Graded outcomes before an agent has a weight of its own."""

PRIOR = 4.0
"""Outcomes that the average of the type counts as in the accuracy of each agent."""

WEIGHT_MIN, WEIGHT_MAX = 0.01, 10.0
"""An agent that is worse than chance counts for next to nothing, not against what it says."""

AGENTS_MAX = 100_000
"""(type, agent) pairs that are remembered; the one graded first gives way."""

TASKS_MAX = 10_000
"""Graded tasks whose grade can still be changed."""

DEFAULT_CHOICES = 2

CHOICES_MAX = 3
"""Possible answers that count at most. The formula takes wrong votes to be spread evenly over all others,
but models are wrong alike: on recorded votes among ten choices, 3 gained 7 points over plurality and 10
gained 3."""


class Grade(msgspec.Struct):
    """Outcomes of one agent for one type."""

    graded: int = 0
    correct: int = 0


class Grades:
    """All grades of a namespace. ``changed`` names the pairs whose grade is not durable yet."""

    __slots__ = ("by_type", "changed", "count", "forgotten", "is_changed", "tasks", "tasks_changed")

    def __init__(self) -> None:
        self.by_type: dict[str, dict[str, Grade]] = {}
        self.count = 0
        self.tasks: dict[int, bool] = {}  # The last grade of each task, the oldest first.
        self.changed: dict[tuple[str, str], None] = {}
        self.tasks_changed: dict[int, None] = {}
        self.forgotten: list[tuple[str, str]] = []
        self.is_changed = False  # Whether there are notes to take.

    def learn(self, task_type: str, agent_id: str, *, correct: bool) -> Grade:
        """Count one outcome."""
        agents = self.by_type.setdefault(task_type, {})
        grade = agents.get(agent_id)
        if grade is None:
            self._make_room()
            grade = agents[agent_id] = Grade()
            self.by_type[task_type] = agents
            self.count += 1
        grade.graded += 1
        grade.correct += correct
        self.changed[task_type, agent_id] = None
        self.is_changed = True
        return grade

    def grade_task(self, task_id: int, task_type: str, agent_id: str, *, correct: bool) -> Grade:
        """Grade the output of a task; another grade of the same task replaces the first."""
        before = self.tasks.pop(task_id, None)
        self.tasks[task_id] = correct
        self.tasks_changed[task_id] = None
        self.is_changed = True
        if len(self.tasks) > TASKS_MAX:
            oldest = next(iter(self.tasks))
            del self.tasks[oldest]
            self.tasks_changed[oldest] = None
        grade = self.by_type.get(task_type, {}).get(agent_id)
        if before is None or grade is None:
            return self.learn(task_type, agent_id, correct=correct)
        grade.correct += correct - before
        self.changed[task_type, agent_id] = None
        return grade

    def weights(self, task_type: str, choices: int) -> tuple[dict[str, float], float]:
        """Weight by agent id, and that of any other agent."""
        agents = self.by_type.get(task_type, {})
        known = {agent_id: grade for agent_id, grade in agents.items() if grade.graded >= GRADED_MIN}
        if not known:
            return {}, 1.0
        graded = sum(grade.graded for grade in known.values())
        mean = sum(grade.correct for grade in known.values()) / graded
        odds = min(max(2, choices or DEFAULT_CHOICES), CHOICES_MAX) - 1
        weights = {
            agent_id: _weight((grade.correct + PRIOR * mean) / (grade.graded + PRIOR), odds)
            for agent_id, grade in sorted(known.items())
        }
        return weights, _weight(mean, odds)

    def _make_room(self) -> None:
        if self.count < AGENTS_MAX:
            return
        task_type, agents = next((name, of) for name, of in self.by_type.items() if of)
        agent_id = next(iter(agents))
        del agents[agent_id]
        if not agents:
            del self.by_type[task_type]
        self.count -= 1
        self.changed.pop((task_type, agent_id), None)
        self.forgotten.append((task_type, agent_id))

    # What is durable.

    def take_notes(self) -> Iterator[tuple[str, str, bytes | None]]:
        """What changed since the last time, as (kind, key, value); None removes."""
        for task_type, agent_id in self.forgotten:
            yield AGENT_NOTE, _key(task_type, agent_id), None
        for task_type, agent_id in self.changed:
            grade = self.by_type[task_type][agent_id]
            yield AGENT_NOTE, _key(task_type, agent_id), b"%d %d" % (grade.graded, grade.correct)
        for task_id in self.tasks_changed:
            correct = self.tasks.get(task_id)
            yield TASK_NOTE, f"{task_id:016x}", None if correct is None else b"%d" % correct
        self.forgotten.clear()
        self.changed.clear()
        self.tasks_changed.clear()
        self.is_changed = False

    def restore(self, notes: Iterable[tuple[str, str, bytes]]) -> None:
        """Take over what was durable."""
        for kind, key, value in notes:
            if kind == AGENT_NOTE:
                task_type, _, agent_id = key.partition(SEPARATOR)
                graded, _, correct = value.partition(b" ")
                self.by_type.setdefault(task_type, {})[agent_id] = Grade(int(graded), int(correct))
                self.count += 1
            elif kind == TASK_NOTE:
                self.tasks[int(key, 16)] = value == b"1"


AGENT_NOTE, TASK_NOTE = "grade", "graded"
SEPARATOR = " "  # In no task type and in no agent id.


def _key(task_type: str, agent_id: str) -> str:
    return f"{task_type}{SEPARATOR}{agent_id}"


def _weight(accuracy: float, odds: int) -> float:
    accuracy = min(max(accuracy, 1e-6), 1 - 1e-6)
    return min(max(log(odds * accuracy / (1 - accuracy)), WEIGHT_MIN), WEIGHT_MAX)
