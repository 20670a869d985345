"""The simulation bites: each planted defect is found within a thousand seeds."""

from __future__ import annotations

import pytest

from tests.simulation import found
from tests.simulation.bugs import BUGS
from tests.simulation.world import simulate


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    seed = found.find(name, found.hints().get(name, 0))
    assert seed is not None, f"{found.SEEDS_MAX:,} seeds and nobody noticed: {BUGS[name].__doc__}"
    assert simulate(seed).violations == [], "the seed fails without the bug as well"


def test_a_hint_that_is_no_longer_true_costs_a_search_and_nothing_else() -> None:
    first = found.find("one_slot_too_many")
    assert first is not None
    assert found.find("one_slot_too_many", first - 1) == first


def test_hints_are_given_of_bugs_that_there_are() -> None:
    assert found.hints().keys() <= BUGS.keys()
