"""What a dispatch costs must not depend on how much waits or how large the fleet is.

Counted in lines and calls, so that the machine has no say.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.lines import CRITICAL, LOW, NORMAL, spec_of, submission
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.events import (
    AgentConnected,
    AgentFrame,
    AttemptAcked,
    AttemptEnded,
    TaskCancelled,
    TasksSubmitted,
    TurnEnded,
)
from upbeat_server.engine.explain import TASKS_LOOKED_AT_MAX, explain
from upbeat_server.engine.limits import Limits, Ordering
from upbeat_server.engine.model import (
    Collaboration,
    Error,
    Parallel,
    Payload,
    RetryPolicy,
    SessionId,
    TaskSpec,
)
from upbeat_server.engine.step import step
from upbeat_server.engine.timers import DEAD_TIMES_MAX, Timers

NOW_MS = 1_000_000
ANY = 3  # Of join.
PAYLOAD = Payload(data=b"done")


def cost_of(function: Callable[[], Any]) -> int:
    """Lines run and calls made, Python's and C's, by the function."""
    count = 0

    def counting_calls(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    def counting_lines(_frame: Any, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return counting_lines

    tracing, profiling = sys.gettrace(), sys.getprofile()
    sys.setprofile(counting_calls)
    sys.settrace(counting_lines)
    try:
        function()
    finally:
        sys.settrace(tracing)
        sys.setprofile(profiling)
    return count


def engine_with(*, queued: int = 0, keys: int = 1, **fields: Any) -> Engine:
    """An engine with tasks and no agents."""
    engine = Engine("cost", Limits(), epoch=1, clock_ms=NOW_MS)
    for key in range(keys):
        template = submission(spec_of(**{"fairness_key": f"k{key}"} | fields))
        step(engine, TasksSubmitted(0, [template] * (queued // keys)), NOW_MS)
    return engine


def connect(engine: Engine, name: str, slots: int = 1, **labels: str) -> SessionId:
    step(engine, AgentConnected(0, name, name, ["work"], labels, slots), NOW_MS)
    return engine.fleet.agents[name].session_id


def cycle(engine: Engine, session_id: SessionId, times: int) -> None:
    """An agent's life: whatever it holds is done, and the next is handed out."""
    agent = engine.fleet.sessions[session_id]
    for _ in range(times):
        step(
            engine, AgentFrame(session_id, acks=[AttemptAcked(lease, True) for lease in agent.leases]), NOW_MS
        )
        results = [AttemptEnded(lease, PAYLOAD) for lease in agent.leases]
        step(engine, AgentFrame(session_id, results=results), NOW_MS)
        step(engine, TurnEnded(0), NOW_MS)


def cost_of_cycles(engine: Engine, *sessions: SessionId) -> int:
    """What 50 cycles cost, after some to warm up."""
    session_id = sessions[0]
    step(engine, TurnEnded(0), NOW_MS)
    cycle(engine, session_id, 10)
    return cost_of(lambda: cycle(engine, session_id, 50))


def test_the_length_of_the_queue_costs_a_dispatch_nothing() -> None:
    costs = []
    for queued in (100, 10_000):
        engine = engine_with(queued=queued)
        costs.append(cost_of_cycles(engine, connect(engine, "a1")))
    assert costs[1] <= 1.1 * costs[0]


def test_the_number_of_fairness_keys_costs_a_dispatch_nothing() -> None:
    costs = []
    for keys in (10, 1_000):
        engine = engine_with(queued=5_000, keys=keys)
        costs.append(cost_of_cycles(engine, connect(engine, "a1")))
    assert costs[1] <= 1.2 * costs[0]


def test_keys_of_a_lower_class_cost_a_class_nothing_whose_queue_empties_with_each_dispatch() -> None:
    costs = []
    critical = submission(spec_of(priority=CRITICAL))
    for keys in (1, 1_000):
        engine = engine_with(queued=1_000, keys=keys, priority=LOW)
        session_id = connect(engine, "a1")
        step(engine, TurnEnded(0), NOW_MS)

        def closed_loop(engine: Engine = engine, session_id: SessionId = session_id) -> None:
            for _ in range(20):
                step(engine, TasksSubmitted(0, [critical]), NOW_MS)
                cycle(engine, session_id, 1)

        closed_loop()
        costs.append(cost_of(closed_loop))
    assert costs[1] <= 1.2 * costs[0]


def test_the_size_of_a_fleet_of_equals_costs_a_dispatch_nothing() -> None:
    costs = []
    for agents in (1, 1_000):
        engine = engine_with(queued=3_000)
        sessions = [connect(engine, f"a{number}") for number in range(agents)]
        costs.append(cost_of_cycles(engine, *sessions))
    assert costs[1] <= 1.3 * costs[0]


def test_a_thousand_different_agents_cost_a_dispatch_no_more_than_those_looked_at() -> None:
    costs = []
    for agents in (40, 1_000):
        engine = engine_with(queued=3_000)
        sessions = [connect(engine, f"a{number}", 4, host=f"h{number}") for number in range(agents)]
        for _ in range(5):
            step(engine, TurnEnded(0), NOW_MS)  # The profiles are matched in slices.
        costs.append(cost_of_cycles(engine, *sessions))
    assert costs[1] <= 1.3 * costs[0]


def test_a_result_costs_the_same_however_many_requirements_its_key_waits_for() -> None:
    costs = []
    for requirements in (1, 200):
        engine = engine_with(queued=300)
        for number in range(requirements):
            step(
                engine,
                TasksSubmitted(0, [submission(spec_of(type=f"other{number}", fairness_key="k0"))]),
                NOW_MS,
            )
        costs.append(cost_of_cycles(engine, connect(engine, "a1")))
    assert costs[1] <= 1.1 * costs[0]


def test_what_is_not_overdue_costs_a_hand_out_the_same_however_many_requirements_an_agent_satisfies() -> None:
    costs = []
    for requirements in (1, 200):
        engine = engine_with(queued=300)
        engine.limits = Limits(ordering=Ordering(overdue_turn=1))
        connect(engine, "a1", 100)
        for number in range(requirements):
            waiting = submission(spec_of(selector=f"anywhere but on h{number}", priority=LOW))
            waiting.predicate = None
            step(engine, TasksSubmitted(0, [waiting]), NOW_MS)
        costs.append(cost_of(lambda engine=engine: step(engine, TurnEnded(0), NOW_MS)))  # type: ignore[misc]
        assert engine.counters.dispatched == 100
    assert costs[1] <= 2 * costs[0]  # They are matched, once.


def test_tasks_that_stepped_aside_cost_a_turn_the_same_however_many_and_however_large_the_fleet() -> None:
    costs = []
    for count in (100, 2_000):
        engine = engine_with(queued=count, retry=RetryPolicy(initial_backoff_ms=0))
        broken = connect(engine, "broken", slots=count)
        step(engine, TurnEnded(0), NOW_MS)
        for number in range(count):  # Others could do it, and are busy for long.
            connect(engine, f"busy{number}")
        step(engine, TasksSubmitted(0, [submission(spec_of(priority=CRITICAL))] * count), NOW_MS)
        step(engine, TurnEnded(0), NOW_MS)
        agent = engine.fleet.sessions[broken]
        failed = [AttemptEnded(lease, None, Error("BROKEN")) for lease in agent.leases]
        step(engine, AgentFrame(broken, results=failed), NOW_MS)
        for _ in range(3):
            step(engine, TurnEnded(0), NOW_MS + 10)
        assert len(next(iter(engine.asides)).aside) >= min(count, 900)
        costs.append(cost_of(lambda engine=engine: step(engine, TurnEnded(0), NOW_MS + 10)))  # type: ignore[misc]
        for task_id in list(engine.tasks)[:3]:
            step(engine, TaskCancelled(0, task_id), NOW_MS + 10)
    assert costs[1] <= 1.3 * costs[0]


def test_explaining_looks_at_a_bounded_number_of_tasks() -> None:
    engine = engine_with(queued=9 * TASKS_LOOKED_AT_MAX)
    session_id = connect(engine, "a1")
    step(engine, TurnEnded(0), NOW_MS)
    last = list(engine.tasks)[-1]
    explained: list[Any] = []
    assert cost_of(lambda: explained.append(explain(engine, last, NOW_MS))) < 4 * TASKS_LOOKED_AT_MAX
    (_, behind) = explained[0].waits
    assert behind.count == pytest.approx(9 * TASKS_LOOKED_AT_MAX, rel=0.01)
    assert session_id in engine.fleet.sessions


def test_cleared_timers_leave_nothing_behind() -> None:
    timers = Timers()
    for number in range(1, 20_000):
        timers.clear(number, timers.set(number, number * 1_000))
    kept = timers.set(7, 5)
    assert len(timers) == 1
    assert len(timers._buckets) == 1
    assert len(timers._times) <= 3 * DEAD_TIMES_MAX
    timers.clear(7, kept)
    assert timers.next_ms is None
    assert timers.due(1 << 60) == []


def test_heaps_stay_as_large_as_what_waits_in_them() -> None:
    engine = engine_with(queued=50, keys=10)
    session_id = connect(engine, "a1", 4)
    for number in range(400):
        batch = [submission(spec_of(fairness_key=f"k{number % 60}", priority=NORMAL)) for _ in range(6)]
        step(engine, TasksSubmitted(0, batch), NOW_MS)
        step(engine, TurnEnded(number), NOW_MS)
        for task_id in list(engine.tasks)[-3:]:
            step(engine, TaskCancelled(0, task_id), NOW_MS)
        cycle(engine, session_id, 1)
    queue = engine.queue
    entries = sum(len(ready._heap) for ready in queue.ready.values())
    lanes = [lane for signature in queue.signatures.values() for lane in signature.lanes.values()]
    bins = [bin_ for lane in lanes for bin_ in lane.bins.values()]
    assert entries <= 4_100
    assert all(len(lane.keys) <= 2 * len(lane.bins) + 65 for lane in lanes)
    assert all(len(bin_.tasks) <= 2 * bin_.depth + 65 for bin_ in bins)
    assert all(len(p.free) <= 4 * len(p.agents) + 65 for p in engine.fleet.profiles.values())


def test_a_flood_of_new_requirements_and_new_agents_is_matched_in_slices() -> None:
    engine = Engine("cost", Limits(), epoch=1, clock_ms=NOW_MS)
    for number in range(60):
        step(engine, TasksSubmitted(0, [submission(spec_of(selector=f"host=h{number}"))]), NOW_MS)
    for number in range(60):
        connect(engine, f"a{number}", host=f"h{number}")
    turns = 1
    commands = step(engine, TurnEnded(0), NOW_MS)
    while engine.next_wake_ms <= NOW_MS:
        assert turns < 20
        turns += 1
        commands += step(engine, TurnEnded(0), NOW_MS)
    assert turns > 3
    assert not any(task.queue_stamp for task in engine.tasks.values())


def test_giving_up_what_waits_costs_as_much_as_there_is_and_not_its_square() -> None:
    costs = []
    for items in (200, 2_000):
        engine = Engine("cost", Limits(), epoch=1, clock_ms=NOW_MS)
        session_id = connect(engine, "a1")
        mode = Parallel((spec_of(),), map_over="", join=ANY, reducer=spec_of())
        listed = Payload("application/json", b"[%s]" % b",".join([b"1"] * items))
        spec = TaskSpec("", listed, collaboration=Collaboration(mode))
        step(engine, TasksSubmitted(0, [submission(spec)]), NOW_MS)
        step(engine, TurnEnded(0), NOW_MS)
        costs.append(cost_of(lambda: cycle(engine, session_id, 1)))  # noqa: B023 - called here.
        assert len(engine.tasks) == 2  # The collaboration, and the reducer of the one that was enough.
    assert costs[1] <= 15 * costs[0]
