"""Frames without work are read at a pace, and it never delays who keeps to it."""

from __future__ import annotations

import pytest

from upbeat_server.rpc.pace import BURST_S, Pace


def test_who_beats_now_and_then_never_waits() -> None:
    pace = Pace(100)
    assert [pace.delay_s(number * 10.0) for number in range(5)] == [0] * 5


def test_a_flood_is_read_at_the_pace_once_its_burst_is_used_up() -> None:
    pace = Pace(100)
    now_s = read = 0.0
    while now_s < 10:
        now_s += pace.delay_s(now_s)
        read += 1
    assert read == pytest.approx(100 * (10 + BURST_S), rel=0.01)


def test_a_rest_brings_back_one_burst_and_no_more() -> None:
    pace = Pace(64)  # An interval that a float holds exactly.
    for _ in range(1_000):
        pace.delay_s(0.0)
    delays = [pace.delay_s(3_600.0) for _ in range(65)]
    assert delays == [0] * 64 + [1 / 64]
