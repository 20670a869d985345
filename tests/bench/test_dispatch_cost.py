"""Handing out a task costs about the same however much waits and however many agents there are.

Counted in lines and calls, for the machine has no say in them; the time is a scenario of the benchmark.
"""

from __future__ import annotations

from functools import cache

import pytest

from tests.bench.dispatch_cost import BATCH, Stage
from tests.server.engine.test_cost import cost_of

TURNS = 5
COST_MAX = 400.0
"""Lines and calls of one hand-out; a tenth more than the dearest case when this was written."""

OVERDUE_MS = 600_000
"""After which every class has overdue tasks."""


@cache
def cost(queued: int, agents: int, waited_ms: int = 0) -> float:
    """Lines and calls of one task, on average, when what is queued has waited so long."""
    stage = Stage(queued, agents)
    stage.now_ms += waited_ms
    for _ in range(20):
        stage.turn()
    handed_out: list[int] = []
    counted = 0
    for _ in range(TURNS):
        stage.submit(stage.end_some(BATCH))
        counted += cost_of(lambda: handed_out.append(stage.hand_out()[0]))
    assert sum(handed_out) == TURNS * BATCH
    return counted / sum(handed_out)


@pytest.mark.parametrize(("queued", "agents"), [(1_000, 10), (10_000, 10), (1_000, 300), (10_000, 300)])
def test_a_hand_out_takes_few_lines(queued: int, agents: int) -> None:
    assert 0 < cost(queued, agents) <= COST_MAX


def test_a_hand_out_takes_few_lines_when_all_that_waits_is_overdue() -> None:
    assert cost(10_000, 10) < cost(10_000, 10, OVERDUE_MS) <= COST_MAX


def test_ten_times_as_much_that_waits_costs_no_more() -> None:
    assert cost(40_000, 10) <= 1.1 * cost(10_000, 10)


def test_thirty_times_as_many_agents_cost_no_more() -> None:
    assert cost(10_000, 300) <= 1.1 * cost(10_000, 10)
