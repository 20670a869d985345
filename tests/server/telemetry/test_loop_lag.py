"""How late the event loop is."""

from __future__ import annotations

import asyncio

import pytest

from upbeat_server.telemetry import loop_lag
from upbeat_server.telemetry.loop_lag import LoopLag

PATIENCE_S = 20


class LateStopwatch:
    """Shows 2 s more each time that it is looked at."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.looked = asyncio.Event()

    def __call__(self) -> float:
        self.now_s += 2
        if self.now_s > 4:  # At the start, when it woke, and when it went to sleep again.
            self.looked.set()
        return self.now_s


async def test_what_comes_later_than_its_time_is_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "PERIOD_S", 0.0)
    stopwatch = LateStopwatch()
    lag = LoopLag(stopwatch)
    lag.start()
    await asyncio.wait_for(stopwatch.looked.wait(), PATIENCE_S)
    lag.stop()
    woken = sum(lag.seconds.counts)
    assert woken
    assert lag.seconds.sum == 2 * woken


async def test_after_it_was_stopped_nothing_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "PERIOD_S", 0.0)
    lag = LoopLag()
    lag.start()
    lag.stop()
    lag.stop()
    for _ in range(5):
        await asyncio.sleep(0)
    assert lag.seconds.counts == [0] * len(lag.seconds.counts)
