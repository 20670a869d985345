"""A series that grows is flagged, one that does not is not, whatever the noise."""

from __future__ import annotations

from random import Random

import pytest

from tests.soak.verdict import Tolerance, Trend, trend

MIB = 1 << 20


def series(leak_per_s: float, noise: float, seconds: int = 300, level: float = 100 * MIB) -> Trend:
    rng = Random(f"{leak_per_s}/{noise}")
    values = [level + leak_per_s * second + rng.gauss(0, noise) for second in range(seconds)]
    return trend("rss", "bytes", range(seconds), values, Tolerance(2 * MIB, 0.02))


@pytest.mark.parametrize("noise", [0.0, MIB, 10 * MIB])
def test_a_level_series_is_level_in_any_noise(noise: float) -> None:
    assert series(0.0, noise).is_level


@pytest.mark.parametrize("noise", [0.0, MIB, 5 * MIB])
def test_a_leak_is_flagged_in_noise(noise: float) -> None:
    leak = series(50_000.0, noise)
    assert not leak.is_level
    assert leak.slope_low_per_min <= 50_000 * 60 <= leak.slope_high_per_min


def test_a_sure_slope_of_next_to_nothing_is_tolerated() -> None:
    slow = series(100.0, 0.0)
    assert slow.slope_low_per_min > 0
    assert slow.is_level


def test_what_shrinks_is_level() -> None:
    assert series(-100_000.0, MIB).is_level


def test_a_saw_tooth_is_level_and_one_on_a_slope_is_not() -> None:
    def saw(leak_per_s: float) -> Trend:
        values = [second % 37 * 500_000 + leak_per_s * second for second in range(300)]
        return trend("wal", "bytes", range(300), values, Tolerance(4 * MIB))

    assert saw(0.0).is_level
    assert not saw(60_000.0).is_level


def test_a_few_wild_samples_move_nothing() -> None:
    values = [100.0] * 290 + [1e9] * 10
    assert trend("tasks", "", range(300), values, Tolerance(5)).is_level


def test_counts_that_step_up_by_one_now_and_then_are_flagged_in_the_end() -> None:
    values = [30 + second // 10 for second in range(300)]
    assert not trend("descriptors", "", range(300), values, Tolerance(5)).is_level


def test_many_samples_are_gathered_and_tell_the_same() -> None:
    assert not series(20_000.0, MIB, seconds=3_600).is_level
    assert series(0.0, MIB, seconds=3_600).is_level


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="say nothing"):
        trend("rss", "bytes", range(4), range(4), Tolerance(1))
