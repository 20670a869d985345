"""History: points at even distances, bounded, of what happened in between."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.hand_clock import HandClock
from upbeat_server.engine.census import Census
from upbeat_server.telemetry import history
from upbeat_server.telemetry.history import POINTS_MAX, History
from upbeat_server.telemetry.recorder import Recorder
from upbeat_server.telemetry.windows import Recent

COUNTED = Census(
    live={1: 4, 2: 5, 3: 6},
    finished={},
    submitted=0,
    attempts={},
    retries=0,
    leases_lost=0,
    queue_depth={1: 0, 2: 5, 3: 0, 4: 0},
    oldest_age_ms={1: 0, 2: 1_500, 3: 0, 4: 0},
    agents={1: 3, 2: 1},
    slots=12,
    slots_in_use=6,
    queue_bytes=0,
    signatures=0,
)


class OneNamespace:
    """A fleet of one namespace."""

    def __init__(self) -> None:
        self.names = ["default"]

    def census(self, name: str) -> Census | None:
        return COUNTED if name in self.names else None


class Stage:
    """A history whose time is put forward by hand."""

    def __init__(self) -> None:
        self.clock = HandClock(10_000)
        self.recorder = Recorder(stopwatch=lambda: self.clock.now_ms() / 1_000)
        self.history = History(OneNamespace(), self.recorder, self.clock)

    def step(self, submitted: int = 0) -> None:
        self.clock.move(5_000)
        if submitted:
            self.recorder.submitted("default", submitted)
        self.history.sample("default")


def test_a_point_has_rates_over_its_step_and_counts_at_its_end() -> None:
    stage = Stage()
    stage.step(submitted=100)
    assert stage.history.points("default") == []
    stage.step(submitted=20)
    (point,) = stage.history.points("default")
    assert (point.time_ms, point.submitted, point.completed) == (20_000, 4.0, 0)
    assert (point.running, point.slots, point.slots_in_use, point.agents) == (6, 12, 6, 3)
    assert (point.queue_depth[2], point.oldest_age_ms[2]) == (5, 1_500)


def test_percentiles_are_of_what_ended_within_the_step() -> None:
    stage = Stage()
    stage.recorder.of("default").wait.add(60, stage.recorder.now_s())
    stage.step()
    stage.recorder.of("default").wait.add(2, stage.recorder.now_s() + 1)
    stage.step()
    stage.step()
    first, second = stage.history.points("default")
    assert (first.wait.p50, first.wait.count) == (2, 1)
    assert second.wait.count == 0


def test_the_oldest_point_gives_way() -> None:
    stage = Stage()
    for _ in range(POINTS_MAX + 3):
        stage.step()
    points = stage.history.points("default")
    assert len(points) == POINTS_MAX
    assert points[0].time_ms == 10_000 + 5_000 * 4


def test_a_window_ends_now_and_leaves_out_what_is_older() -> None:
    stage = Stage()
    for _ in range(5):
        stage.step()
    times = [point.time_ms for point in stage.history.points("default", 25_000)]
    assert times == [30_000, 35_000]


def test_a_namespace_that_is_not_open_has_none() -> None:
    stage = Stage()
    stage.history.sample("other")
    assert stage.history.points("other") == []


async def test_points_are_kept_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    monkeypatch.setattr(history, "STEP_S", 0)
    keeping = asyncio.create_task(stage.history.keep())
    while len(stage.history.points("default")) < 2:
        stage.clock.move(5_000)
        await asyncio.sleep(0)
    keeping.cancel()


def test_samples_since_a_moment_are_the_later_ones() -> None:
    waits = Recent()
    for second in range(10):
        waits.add(second, second)
    assert (waits.summary_since(6).p50, waits.summary_since(6).count) == (8, 3)
    assert waits.summary_since(9).count == 0
