"""Rates and distributions over recent time."""

from __future__ import annotations

import pytest

from upbeat_server.telemetry.windows import SAMPLES_MAX, Buckets, Distribution, Rate, Recent, Summary


def test_a_rate_counts_whole_seconds_and_leaves_out_the_running_one() -> None:
    rate = Rate()
    rate.add(10, now_s=100.2)
    rate.add(20, now_s=100.9)
    rate.add(99, now_s=101.1)
    assert rate.per_second(1, now_s=101.5) == 30
    assert rate.per_second(60, now_s=101.5) == 0.5
    assert rate.count == 129


def test_seconds_long_ago_do_not_come_back() -> None:
    rate = Rate()
    rate.add(10, now_s=5)
    assert rate.per_second(300, now_s=305) == pytest.approx(10 / 300)
    assert rate.per_second(300, now_s=306) == 0
    rate.add(1, now_s=306)
    assert rate.per_second(1, now_s=307) == 1


def test_a_rate_of_nothing_is_nothing() -> None:
    assert Rate().per_second(60, now_s=1_000) == 0


def test_percentiles_are_of_the_samples() -> None:
    distribution = Distribution()
    for number in range(1, 101):
        distribution.add(number / 100, now_s=0)
    assert distribution.summary(now_s=0) == Summary(0.51, 0.91, 1.0, 1.0, 100)


def test_no_samples_have_no_percentiles() -> None:
    assert Distribution().summary(now_s=0) == Summary()


def test_old_samples_are_left_out_of_percentiles_and_kept_in_buckets() -> None:
    distribution = Distribution()
    distribution.add(5, now_s=0)
    distribution.add(1, now_s=400)
    assert distribution.summary(now_s=400).largest == 1
    assert distribution.buckets.cumulative()[-1] == ("+Inf", 2)
    assert distribution.buckets.sum == 6


def test_samples_are_bounded() -> None:
    distribution = Distribution()
    for _ in range(SAMPLES_MAX + 10):
        distribution.add(1, now_s=0)
    assert distribution.summary(now_s=0).count == SAMPLES_MAX


def test_many_samples_at_once_are_the_same_as_each_by_itself() -> None:
    at_once, one_by_one = Recent(), Recent()
    at_once.add_all([1.0, 2.0], now_s=0)
    one_by_one.add(1, now_s=0)
    one_by_one.add(2, now_s=0)
    assert at_once.summary(now_s=1) == one_by_one.summary(now_s=1)


def test_buckets_hold_what_is_not_above_their_bound() -> None:
    buckets = Buckets(bounds=(1.0, 2.0))
    for seconds in (0.5, 1.0):
        buckets.add(seconds)
    buckets.add_all([1.5, 3.0])
    assert buckets.cumulative() == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert buckets.sum == 6


def test_merged_buckets_hold_the_samples_of_both() -> None:
    ours, theirs = Buckets(bounds=(1.0,)), Buckets(bounds=(1.0,))
    ours.add(0.5)
    theirs.add(2)
    ours.merge(theirs)
    assert ours.cumulative() == [("1.0", 1), ("+Inf", 2)]
    assert ours.sum == 2.5
    assert theirs.sum == 2
