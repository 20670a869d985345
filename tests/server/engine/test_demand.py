"""Demand: what agents of some types could do now, and what they do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.engine.test_pausing import pause, resume
from tests.support.lines import cancel, failure, hello, result, submit
from tests.support.play import Play
from upbeat_server.engine.demand import Demand, demand
from upbeat_server.engine.model import RetryPolicy

GPU_IN_EU = (frozenset(("work", "gpu")), (("region", "eu"),))
QUICK = RetryPolicy(max_attempts=50, initial_backoff_ms=0)


def of(play: Play, *types: str) -> tuple[int, int]:
    """What waits and what runs."""
    found = demand(play.engine, types or ("work",))
    return found.waiting, found.running


def test_a_type_that_nobody_has_submitted_has_no_demand(play: Play) -> None:
    play >> submit("t1")
    assert demand(play.engine, ["other"]) == Demand(0, 0)
    assert demand(play.engine, []).total == 0


def test_a_task_waits_then_runs_and_then_is_gone(play: Play) -> None:
    play >> submit("t1") >> submit("t2")
    assert of(play) == (2, 0)
    play >> hello("a1")
    assert of(play) == (1, 1)
    play >> result("t1.1")
    assert of(play) == (0, 1)
    play >> result("t2.1")
    assert of(play) == (0, 0)
    play.skip()


def test_several_types_are_summed_and_one_that_is_named_twice_counts_once(play: Play) -> None:
    play >> submit("t1") >> submit("t2", type="other") >> submit("t3", type="third")
    assert of(play, "work", "other", "work") == (2, 0)


def test_all_classes_and_fairness_keys_of_a_type_count(play: Play) -> None:
    for number in range(8):
        play >> submit(f"t{number}", priority=1 + number % 4, fairness_key=f"key{number % 3}")
    assert of(play) == (8, 0)


def test_what_waits_for_its_time_is_no_demand_until_it_comes(play: Play) -> None:
    play >> submit("t1", not_before_ms=1_000_000 + 60_000)
    assert of(play) == (0, 0)
    play.at(60_100)
    assert of(play) == (1, 0)


def test_a_backoff_is_no_demand_and_its_end_is(play: Play) -> None:
    play >> hello("a1") >> submit("t1", retry=RetryPolicy(initial_backoff_ms=60_000, max_backoff_ms=60_000))
    play >> failure("t1.1")
    assert of(play) == (0, 0)
    play.at(61_000)
    play.at(75_000)
    assert of(play) == (1, 0)  # The silent agent gets nothing.
    play.skip()


def test_a_task_that_was_cancelled_before_its_time_is_forgotten(play: Play) -> None:
    play >> submit("t1", not_before_ms=1_000_000 + 60_000) >> submit("t2")
    play >> cancel("t1")
    assert of(play) == (1, 0)
    play.skip()


def test_a_task_that_stepped_aside_still_waits(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> submit("t1", retry=QUICK) >> submit("long")
    play >> failure("t1.1")
    play.later(20)
    assert of(play) == (1, 1)
    play.skip()


def test_what_waits_while_its_type_is_paused_is_no_demand_and_what_runs_is(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> submit("t2") >> submit("gpu", required_capabilities=("gpu",))
    play >> submit("other", type="other") >> pause()
    assert of(play) == (0, 1)
    assert of(play, "work", "other") == (1, 1)
    play.skip().restart()
    assert of(play) == (0, 1)
    play >> submit("t3") >> resume()
    assert of(play) == (3, 1)
    play.skip()


def test_after_a_restart_the_demand_is_what_it_was(play: Play) -> None:
    play >> submit("t1") >> submit("t2") >> submit("t3", not_before_ms=1_000_000 + 60_000) >> hello("a1")
    play.restart()
    assert of(play) == (1, 1)
    play.skip()


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"required_capabilities": ("gpu",)}, True),
        ({"required_capabilities": ("gpu", "licence")}, False),
        ({"selector": "region=eu"}, True),
        ({"selector": "region=us"}, False),
        ({"selector": "tier=a"}, False),
    ],
)
def test_with_an_offer_only_what_its_agents_may_get_counts(
    play: Play, fields: dict[str, Any], counts: bool
) -> None:
    play >> submit("t1", **fields)
    assert demand(play.engine, ["work"], GPU_IN_EU).total == int(counts)
    assert demand(play.engine, ["work"]).total == 1
