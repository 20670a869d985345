"""How wide a collaboration can become, from its spec alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from upbeat_server.engine.collaboration.mode import Reducer, Setting
from upbeat_server.engine.collaboration.steps import own_steps, steps_of
from upbeat_server.engine.collaboration.width import live_max
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

WORK = TaskSpec("work")
JUDGE, OTHER = TaskSpec("judge"), TaskSpec("other")


class Trio:
    """A mode that has three children at once."""

    def faults(self, custom: CustomMode) -> Iterable[tuple[str, str]]:
        return ()

    def children_max(self, custom: CustomMode) -> int:
        return 3

    def reducer(self, setting: Setting) -> Reducer:
        raise NotImplementedError


def group(mode: Any, **fields: Any) -> TaskSpec:
    return TaskSpec("", collaboration=Collaboration(mode, **fields))


def widest(mode: Any, **fields: Any) -> int:
    return live_max(group(mode, **fields), {"trio": Trio()})


def test_work_has_no_descendants() -> None:
    assert live_max(WORK, {}) == 0


@pytest.mark.parametrize(
    ("mode", "count"),
    [
        (Sequential((WORK, WORK, WORK)), 1),
        (Parallel(()), 0),
        (Parallel((WORK,) * 5), 5),
        (Parallel((WORK,) * 50), 16),
        (Parallel((WORK,), map_over=""), 16),
        (Parallel((), reducer=WORK), 1),
        (Pipeline((WORK, WORK), stage_concurrency=4), 8),
        (Pipeline((WORK, WORK)), 16),
        (Consensus(WORK, voters=3), 4),
        (Consensus(WORK, voters=15, judge=JUDGE), 16),
        (Competitive((WORK, WORK)), 2),
        (Competitive((WORK, WORK), judge=JUDGE), 4),
        (CustomMode("trio", steps=(WORK,)), 3),
        (CustomMode("trio"), 3),
    ],
)
def test_each_mode_has_so_many_children_at_once(mode: Any, count: int) -> None:
    assert widest(mode) == count


def test_concurrency_bounds_them() -> None:
    assert widest(Parallel((WORK,) * 50), max_concurrency=7) == 7
    assert widest(Pipeline((WORK,) * 32), max_concurrency=1_000) == 512
    assert widest(CustomMode("trio"), max_concurrency=2) == 2


def test_children_of_children_count_with_them() -> None:
    inner = group(Parallel((WORK,) * 9))
    assert widest(Sequential((WORK, inner))) == 10
    assert widest(Parallel((inner,), map_over="/items"), max_concurrency=4) == 40
    assert widest(Consensus(inner, voters=3)) == 40


def test_of_different_steps_the_heaviest_count_first() -> None:
    inner = group(Parallel((WORK,) * 9))
    assert widest(Parallel((WORK, inner, WORK, inner)), max_concurrency=3) == 10 + 10 + 1


def test_what_never_runs_together_is_not_added() -> None:
    inner = group(Parallel((WORK,) * 9))
    assert widest(Parallel((WORK, WORK), reducer=inner)) == 10
    assert widest(Sequential((inner, inner), on_step_failure=3, fallback=inner)) == 10


@pytest.mark.parametrize(
    ("mode", "steps"),
    [
        (Sequential((WORK,), fallback=OTHER), (WORK, OTHER)),
        (Parallel((WORK, WORK), reducer=OTHER), (WORK, WORK, OTHER)),
        (Pipeline((WORK, OTHER)), (WORK, OTHER)),
        (Consensus(WORK, judge=JUDGE), (WORK, JUDGE)),
        (Competitive((WORK,), validator=OTHER, judge=JUDGE), (WORK, OTHER, JUDGE)),
        (CustomMode("trio", steps=(OTHER,)), (OTHER,)),
    ],
)
def test_every_step_of_a_mode_is_known(mode: Any, steps: tuple[TaskSpec, ...]) -> None:
    assert own_steps(Collaboration(mode)) == steps


def test_steps_are_walked_to_the_innermost() -> None:
    inner = group(Sequential((JUDGE,)))
    outer = group(Parallel((WORK, inner), reducer=OTHER))
    assert list(steps_of(outer)) == [WORK, inner, JUDGE, OTHER]
    assert list(steps_of(WORK)) == []
