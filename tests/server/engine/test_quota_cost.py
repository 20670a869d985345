"""What limits cost a dispatch: nothing for tasks without, and as much for any number of tasks that wait."""

from __future__ import annotations

from functools import partial

import pytest

from tests.server.engine.test_cost import NOW_MS, connect, cost_of, cost_of_cycles, cycle, engine_with
from tests.support.lines import HIGH, spec_of, submission
from upbeat_server.engine.events import TasksSubmitted, TurnEnded
from upbeat_server.engine.model import Limit
from upbeat_server.engine.step import step

FULL = (Limit("full", max_running=1),)


def test_tasks_that_wait_for_a_limit_cost_the_others_nothing() -> None:
    costs = []
    for blocked in (0, 10_000):
        engine = engine_with(queued=5_000)
        connect(engine, "a1")
        connect(engine, "a2")
        blocked_spec = submission(spec_of(limits=FULL, priority=HIGH))
        step(engine, TasksSubmitted(0, [blocked_spec] * (blocked + 1)), NOW_MS)
        step(engine, TurnEnded(0), NOW_MS)
        others = [
            agent.session_id
            for agent in engine.fleet.agents.values()
            if all(task is not None and task.gate is None for task in agent.leases.values())
        ]
        costs.append(cost_of_cycles(engine, *others))
    assert costs[1] <= 1.1 * costs[0]


@pytest.mark.parametrize("shape", ["tasks", "fairness keys", "keys named besides"])
def test_how_many_wait_for_a_limit_costs_nothing(shape: str) -> None:
    costs = []
    for many in (10, 1_000):
        engine = engine_with()
        session_id = connect(engine, "a1", 4)
        batch = []
        for number in range(2_000):
            key = f"k{number % many}" if shape == "fairness keys" else ""
            besides = (Limit(f"t{number % many}", max_running=2),) if shape == "keys named besides" else ()
            if shape != "tasks" or number < 2 * many:
                batch.append(submission(spec_of(limits=(*FULL, *besides), fairness_key=key), index=number))
        step(engine, TasksSubmitted(0, batch), NOW_MS)
        step(engine, TurnEnded(0), NOW_MS)
        cycle(engine, session_id, 5)
        costs.append(cost_of(partial(cycle, engine, session_id, 10)))
    assert costs[1] <= 1.3 * costs[0]
