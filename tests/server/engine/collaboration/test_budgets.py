"""What a collaboration uses is reserved before and settled after: no wave overshoots it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fan_mode import FanMode, fan
from tests.support.lines import (
    ack,
    answer,
    append,
    close,
    collaborate,
    failure,
    hello,
    listening,
    reject,
    result,
    spec_of,
)
from tests.support.play import Play
from upbeat_server.engine.model import (
    Budget,
    Collaboration,
    Pipeline,
    RetryPolicy,
    Sequential,
    TaskSpec,
    TaskState,
    Usage,
)

DROP = 2  # Of on_item_failure.
WORK = spec_of(retry=RetryPolicy(max_attempts=1))
OFTEN = spec_of(retry=RetryPolicy(max_attempts=10, initial_backoff_ms=0, max_backoff_ms=0))


def cost(micros: int) -> Usage:
    """What an agent says to have used."""
    return Usage(cost_micros=micros)


def test_a_child_beyond_max_children_counts_as_failed(play: Play) -> None:
    (
        play
        >> hello("a1", slots=4)
        >> collaborate("c", fan(WORK, count=3, enough=3), budget=Budget(children_max=2))
    )
    play << "assign c/fan/0.1 to a1" << "assign c/fan/1.1 to a1"
    play.together(result("c/fan/0.1"), result("c/fan/1.1"))
    play.skip()
    assert play.stored("c").error.reason == "BUDGET_EXCEEDED"
    assert "max_children is 2" in play.stored("c").error.message
    assert play.stored("c").error.details["reason"] == "FAN_FAILED"


def test_a_mode_may_decide_without_what_the_budget_refused(play: Play) -> None:
    (
        play
        >> hello("a1", slots=4)
        >> collaborate("c", fan(WORK, count=3, enough=2), budget=Budget(children_max=2))
    )
    play.together(result("c/fan/0.1"), result("c/fan/1.1"))
    play.skip()
    assert play.stored("c").state == TaskState.COMPLETED


@pytest.mark.parametrize("restarts", [False, True])
def test_an_item_beyond_max_children_counts_as_failed(play: Play, *, restarts: bool) -> None:
    mode = Pipeline((WORK,), open=True, on_item_failure=DROP)
    play >> hello("a1", slots=4) >> collaborate("c", mode, budget=Budget(children_max=1))
    play >> append("c", b"1", b"2")
    assert play.engine.groups[play.tasks["c"]].made_below == 1
    if restarts:
        play.restart() >> listening() >> hello("a1", slots=4, holds=("c/item/0/stage/0.1",))
    play >> answer("c/item/0/stage/0.1", b'"a"') >> close("c")
    play.skip()
    assert play.stored("c").output.data == b'["a"]'
    assert (play.stored("c").group.made, play.stored("c").group.result.failed_items) == (1, 1)


def test_attempts_are_bounded_over_all_children_and_retries(play: Play) -> None:
    (
        play
        >> hello("a1", slots=8)
        >> collaborate("c", fan(OFTEN, count=2, enough=2), budget=Budget(attempts_max=3))
    )
    play >> failure("c/fan/0.1")
    play.skip().later(10)
    assert play.engine.groups[play.tasks["c"]].attempts == 3
    play >> failure("c/fan/0.2")
    play.skip().later(10)
    assert play.task("c/fan/0").record.state == TaskState.QUEUED  # The other one may still decide.
    play >> failure("c/fan/1.1")
    play.skip().later(2_000).skip()
    assert play.stored("c").error.reason == "BUDGET_EXCEEDED"
    assert play.stored("c").group.attempts == 3


def test_attempts_that_come_back_uncharged_are_counted_all_the_same(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> collaborate("c", fan(WORK, count=1), budget=Budget(attempts_max=2))
    play >> reject("c/fan/0.1") >> reject("c/fan/0.2")
    play.later(70_000).skip()
    assert play.stored("c/fan/0").error.reason == "BUDGET_EXCEEDED"


def test_a_parallel_wave_does_not_overshoot_the_cost(play: Play) -> None:
    budget = Budget(cost_micros_max=250, attempt_cost_micros=100)
    play >> hello("a1", slots=8) >> collaborate("c", fan(WORK, count=5, enough=5), budget=budget)
    assert play.agent("a1").in_use == 2  # The third might cost more than is left.
    play >> result("c/fan/0.1", usage=cost(20))
    assert play.agent("a1").in_use == 2  # 20 used, 200 reserved: a third would make 320.
    play >> result("c/fan/1.1", usage=cost(10))
    play.skip().later(2_000).skip()
    assert play.agent("a1").in_use == 2
    play >> result("c/fan/2.1", usage=cost(100))
    play >> result("c/fan/3.1", usage=cost(100))
    play.later(2_000).skip()
    assert play.stored("c").error.reason == "BUDGET_EXCEEDED"
    assert play.stored("c").usage.cost_micros == 230


def test_a_budget_bounds_what_is_nested_below(play: Play) -> None:
    inner = TaskSpec("", collaboration=Collaboration(fan(WORK, count=3)))
    play >> hello("a1", slots=8)
    play >> collaborate("c", Sequential((inner, inner)), budget=Budget(attempts_max=4))
    for number in range(3):
        play >> result(f"c/step/0/fan/{number}.1")
    play >> result("c/step/1/fan/0.1")
    play.later(2_000).skip()
    assert play.stored("c").group.attempts == 4
    assert play.stored("c/step/1").output.data == b"1"  # Its mode makes do with one of three.


def test_a_restart_forgets_nothing_of_what_was_used(play: Play) -> None:
    budget = Budget(cost_micros_max=300, attempt_cost_micros=100)
    play >> hello("a1", slots=8) >> collaborate("c", fan(WORK, count=4), budget=budget)
    play >> ack("c/fan/1.1") >> ack("c/fan/2.1") >> result("c/fan/0.1", usage=cost(90))
    before = play.task("c").group
    play.skip().restart()
    after = play.task("c").group
    assert after is not before
    figures = ("attempts", "running", "cost_micros", "made_below")
    assert [getattr(after, name) for name in figures] == [getattr(before, name) for name in figures]


def test_what_was_used_before_a_restart_is_not_counted_twice(play: Play) -> None:
    budget = Budget(cost_micros_max=1_000, attempt_cost_micros=100)
    play >> hello("a1") >> collaborate("c", fan(OFTEN, count=1), budget=budget)
    play >> failure("c/fan/0.1", usage=cost(60))
    play.later(10) >> ack("c/fan/0.2")
    play.skip().restart() >> listening() >> hello("a1", holds=("c/fan/0.2",))
    before = play.engine.groups[play.tasks["c"]].cost_micros
    play >> result("c/fan/0.2", usage=cost(50))
    play.skip()
    assert (before, play.stored("c").usage.cost_micros) == (60, 110)


def test_a_time_that_is_over_is_told_as_such_whatever_the_budget(play: Play) -> None:
    (
        play
        >> hello("a1")
        >> collaborate(
            "c",
            fan(WORK, count=2),
            budget=Budget(children_max=1),
            step_fields={"total_timeout_ms": 1_000},
        )
    )
    play.at(1_000).skip()
    assert play.stored("c").error.reason == "TOTAL_TIMEOUT"


@settings(max_examples=60, deadline=None)
@given(
    costs=st.lists(st.integers(0, 100), min_size=8, max_size=8),
    order=st.permutations(range(8)),
    most=st.integers(100, 900),
    slots=st.integers(1, 8),
)
def test_no_order_of_ends_overshoots(costs: list[int], order: list[int], most: int, slots: int) -> None:
    play = Play(modes={"fan": FanMode()})
    budget = Budget(cost_micros_max=most, attempt_cost_micros=100)
    play >> hello("a1", slots=slots) >> collaborate("c", fan(WORK, count=8, enough=8), budget=budget)
    for _ in range(8):
        held = [task.record.member for task in play.agent("a1").leases.values() if task is not None]
        if not held:
            break
        for member in held:
            play >> ack(f"c/{member}.1")
        key = min(held, key=lambda member: order.index(int(member.split("/")[1])))
        play >> result(f"c/{key}.1", usage=cost(costs[int(key.split("/")[1])]))
        play.later(1_500).skip()
    play.later(3_000).skip()
    assert play.stored("c").usage.cost_micros <= most
    assert play.stored("c").state in (TaskState.COMPLETED, TaskState.FAILED)
