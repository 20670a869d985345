"""How many tasks a collaboration can have live at once, told from its spec alone.

The door refuses what is too wide, so that nothing behind it has to: children are
never refused once their collaboration is in.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from upbeat_server.engine.model import (
    Competitive,
    Consensus,
    CustomMode,
    Parallel,
    Pipeline,
    Sequential,
    TaskSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat_server.engine.collaboration.mode import Mode
    from upbeat_server.engine.model import Collaboration

Together: TypeAlias = list[tuple[int, TaskSpec]]
"""Children that can be live at the same time: how many of each step."""

JUDGES_AT_ONCE = 2
"""Judges of a pair, one for each order, that a competition runs beside its candidates."""


def live_max(spec: TaskSpec, modes: Mapping[str, Mode]) -> int:
    """The most descendants that are ever live at once; 0 for plain work.

    ``modes`` has every custom mode that the spec names.
    """
    collaboration = spec.collaboration
    if collaboration is None:
        return 0
    known: dict[int, int] = {}  # A step that stands there several times is looked at once.
    widest = 0
    for together in _phases(collaboration, modes):
        weighed: list[tuple[int, int]] = []
        for count, step in together:
            weight = 1 if step.collaboration is None else known.get(id(step), 0)
            if not weight:
                weight = known[id(step)] = 1 + live_max(step, modes)
            weighed.append((count, weight))
        widest = max(widest, _heaviest(weighed, collaboration.max_concurrency))
    return widest


def _heaviest(children: list[tuple[int, int]], most: int) -> int:
    """The weight of the ``most`` heaviest children: so many of such a weight each."""
    total = 0
    for count, weight in sorted(children, key=itemgetter(1), reverse=True):
        taken = min(count, most)
        total += taken * weight
        most -= taken
    return total


def _phases(collaboration: Collaboration, modes: Mapping[str, Mode]) -> list[Together]:
    """What can be live together; of several lists only one at a time."""
    mode = collaboration.mode
    match mode:
        case Sequential():
            return [[(1, step)] for step in (*mode.steps, mode.fallback) if step is not None]
        case Parallel():
            count = 1 if mode.map_over is None else collaboration.max_concurrency
            return [[(count, step) for step in mode.steps], _one(mode.reducer)]
        case Pipeline():
            return [[(mode.stage_concurrency, stage) for stage in mode.stages]]
        case Consensus():
            return [[(mode.voters, mode.voter), *_one(mode.judge or mode.voter)]]
        case Competitive():
            verdicts = [] if mode.judge is None else [(JUDGES_AT_ONCE, mode.judge)]
            if mode.validator is not None:
                # Each candidate that has completed has one, in the place of the candidate.
                verdicts.append((len(mode.candidates), mode.validator))
            return [[*((1, step) for step in mode.candidates), *verdicts]]
        case CustomMode():
            # Which of its steps a foreign mode runs how often is its own business.
            count = max(modes[mode.name].children_max(mode), 1)
            return [[(count, step)] for step in mode.steps] or [[(count, TaskSpec(""))]]


def _one(step: TaskSpec | None) -> Together:
    return [] if step is None else [(1, step)]
