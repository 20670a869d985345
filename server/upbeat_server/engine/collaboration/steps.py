"""The steps of a collaboration as one list, whatever its mode calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.model import (
    Collaboration,
    Competitive,
    Consensus,
    CustomMode,
    Parallel,
    Pipeline,
    Sequential,
    TaskSpec,
)
from upbeat_server.engine.queue import requirement_of

if TYPE_CHECKING:
    from upbeat_server.engine.queue import Requirement


def own_steps(collaboration: Collaboration) -> tuple[TaskSpec, ...]:
    """Every spec that a child of it is made from, in the order in which the contract lists them."""
    mode = collaboration.mode
    match mode:
        case Sequential():
            return _with(mode.steps, mode.fallback)
        case Parallel():
            return _with(mode.steps, mode.reducer)
        case Pipeline():
            return mode.stages
        case Consensus():
            return _with((mode.voter,), mode.judge)
        case Competitive():
            return _with(mode.candidates, mode.validator, mode.judge)
        case CustomMode():
            return mode.steps


def steps_of(spec: TaskSpec) -> list[TaskSpec]:
    """The steps of a spec and of the collaborations among them, outermost first; none for plain work."""
    found: list[TaskSpec] = []
    if spec.collaboration is not None:
        for step in own_steps(spec.collaboration):
            found.append(step)
            if step.collaboration is not None:
                found += steps_of(step)
    return found


def requirements_of(spec: TaskSpec) -> frozenset[Requirement]:
    """What agents must satisfy for a task, or for the steps of a collaboration."""
    if spec.collaboration is None:
        return frozenset((requirement_of(spec),))
    return frozenset(map(requirement_of, steps_of(spec)))


def limit_keys_of(spec: TaskSpec) -> frozenset[str]:
    """Keys of the limits that a task names, or the steps of a collaboration."""
    if spec.collaboration is None:
        return frozenset(limit.key for limit in spec.limits)
    return frozenset(limit.key for step in steps_of(spec) for limit in step.limits)


def _with(steps: tuple[TaskSpec, ...], *others: TaskSpec | None) -> tuple[TaskSpec, ...]:
    for step in others:
        if step is not None:
            steps = (*steps, step)
    return steps
