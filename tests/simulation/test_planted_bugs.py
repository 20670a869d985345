"""The simulation bites: each planted defect is found within a thousand seeds."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS, planted
from tests.simulation.world import simulate

SEEDS_MAX = 1_000


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        found = next((seed for seed in range(1, SEEDS_MAX + 1) if simulate(seed).violations), None)
    assert found is not None, f"{SEEDS_MAX:,} seeds and nobody noticed: {BUGS[name].__doc__}"
    assert simulate(found).violations == [], "the seed fails without the bug as well"
