"""Engine time never goes back and never below what a store has seen."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from upbeat_server import clock as clock_module
from upbeat_server.clock import SystemClock, incident_id, stopwatch_s


def test_it_begins_at_the_wall_clock() -> None:
    before_ms = time.time_ns() // 1_000_000
    now_ms = SystemClock().now_ms()
    assert before_ms <= now_ms + 1


def test_a_step_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    before_ms = clock.now_ms()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert clock.now_ms() >= before_ms


def test_it_moves_up_to_what_a_store_has_seen() -> None:
    clock = SystemClock()
    ahead_ms = clock.now_ms() + 3_600_000
    clock.advance_to(ahead_ms)
    assert clock.now_ms() >= ahead_ms


def test_it_does_not_move_down() -> None:
    clock = SystemClock()
    now_ms = clock.now_ms()
    clock.advance_to(now_ms - 3_600_000)
    assert clock.now_ms() >= now_ms


def test_entropy_has_64_bits_and_does_not_repeat() -> None:
    clock = SystemClock()
    drawn = {clock.entropy() for _ in range(100)}
    assert len(drawn) == 100
    assert all(0 <= number < 1 << 64 for number in drawn)


def test_incidents_have_names_of_their_own() -> None:
    assert incident_id() != incident_id()


def test_the_stopwatch_does_not_go_back() -> None:
    first = stopwatch_s()
    assert stopwatch_s() >= first


def test_work_is_what_the_thread_did() -> None:
    clock = SystemClock()
    before_s = clock.worked_s()
    worked_s = time.thread_time()
    while time.thread_time() < worked_s + 0.05:
        pass
    assert clock.worked_s() - before_s >= 0.045


def test_without_a_schedule_the_processor_time_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = SystemClock()
    monkeypatch.setattr(clock_module, "SCHEDULE", tmp_path / "missing")
    assert clock.worked_s() == pytest.approx(time.thread_time(), abs=1.0)
