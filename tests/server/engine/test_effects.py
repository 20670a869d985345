"""How agents compare with each other, whatever they are given to do."""

from __future__ import annotations

from math import exp, log

import pytest

from upbeat_server.engine.effects import (
    PRIOR_RUNS,
    SIZE_EXPONENT_MAX,
    SIZE_EXPONENT_MIN,
    Effect,
    Level,
    size_bucket,
)
from upbeat_server.engine.predictor import UNKNOWN_MS, Predictor


def learned(runs: int = 60) -> Predictor:
    """Two types; ``fast`` takes half of the time of ``slow``, and is no good at summing up."""
    predictor = Predictor()
    for _ in range(runs):
        predictor.learn("draw", "fast", 1_000.0, completed=True)
        predictor.learn("draw", "slow", 2_000.0, completed=True)
        predictor.learn("sum", "fast", 400.0, completed=True)
        predictor.learn("sum", "slow", 100.0, completed=True)
    return predictor


def test_one_run_says_little_and_many_are_believed() -> None:
    effect = Effect()
    effect.learn(log(2))
    assert effect.value == pytest.approx(log(2) / (1 + PRIOR_RUNS))
    for _ in range(200):
        effect.learn(log(2))
    assert 0.7 * log(2) < effect.value < log(2)


def test_a_jump_is_followed_within_twenty_runs() -> None:
    effect = Effect()
    for _ in range(200):
        effect.learn(0.0)
    runs = 0
    while effect.value < log(2.5):
        effect.learn(log(5))
        runs += 1
    assert runs <= 12


def test_what_was_stored_of_an_effect_says_the_same() -> None:
    effect = Effect()
    for number in range(30):
        effect.learn(number % 3 - 0.5)
    again = Effect(effect.runs, effect.slow, effect.fast)
    assert again.value == effect.value


def test_each_pair_of_type_and_agent_has_its_own_estimate() -> None:
    predictor = learned()
    assert predictor.run_ms("draw", "fast") < 0.8 * predictor.run_ms("draw", "slow")
    assert predictor.run_ms("sum", "slow") < 0.6 * predictor.run_ms("sum", "fast")


def test_an_agent_that_is_new_to_a_type_is_judged_by_its_other_work() -> None:
    predictor = Predictor()
    for _ in range(60):
        predictor.learn("draw", "fast", 1_000.0, completed=True)
        predictor.learn("draw", "slow", 4_000.0, completed=True)
        predictor.learn("sum", "other", 100.0, completed=True)
    assert predictor.run_ms("sum", "fast") < 80.0
    assert predictor.run_ms("sum", "slow") > 120.0


def test_the_size_of_a_task_counts() -> None:
    predictor = Predictor()
    for _ in range(60):
        predictor.learn("draw", "a1", 1_000.0, completed=True, size=100.0)
        predictor.learn("draw", "a1", 9_000.0, completed=True, size=5_000.0)
    assert predictor.run_ms("draw", "a1", 100.0) < 2_000.0
    assert predictor.run_ms("draw", "a1", 5_000.0) > 6_000.0
    assert 2_000.0 < predictor.run_ms("draw", "a1", 7.0) < 6_000.0  # A size that was never seen.


@pytest.mark.parametrize(
    ("size", "bucket"),
    [(1.0, 1), (1.9, 1), (2.0, 2), (1e-300, SIZE_EXPONENT_MIN), (1e300, SIZE_EXPONENT_MAX)],
)
def test_sizes_fall_into_few_buckets(size: float, bucket: int) -> None:
    assert size_bucket(size) == bucket


def test_nothing_is_known_of_a_type_before_its_first_run() -> None:
    assert Predictor().run_ms("draw", "a1", 5.0) == UNKNOWN_MS
    assert Level().expected(5.0) == 0.0


def test_failures_fade_with_what_completes() -> None:
    predictor = Predictor()
    for _ in range(10):
        predictor.learn("draw", "a1", 5.0, completed=False)
    cell = predictor.cells["draw", "a1"]
    assert cell.failing == pytest.approx(1 - 0.9**10)
    for _ in range(10):
        predictor.learn("draw", "a1", 5.0, completed=True)
    assert cell.failing < 0.25
    assert predictor.levels["draw"].failing < cell.failing


def test_the_level_of_a_type_is_that_of_an_average_agent() -> None:
    predictor = learned()
    assert 900.0 < exp(predictor.levels["draw"].log_ms) < 2_200.0
