"""One timer of a stream ends the write that takes too long, and no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from upbeat_server.rpc.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    def __init__(self, clock: Clock, when_s: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.when_s = when_s
        self.callback = callback

    def cancel(self) -> None:
        self._clock.alarms.remove(self)


class Clock:
    """The part of a loop that tells the time; it is as late as the test says."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.alarms: list[Alarm] = []
        self.armed = 0

    def time(self) -> float:
        return self.now_s

    def call_at(self, when: float, callback: Callable[[], None]) -> Alarm:
        self.armed += 1
        self.alarms.append(Alarm(self, when, callback))
        return self.alarms[-1]

    def go_to(self, now_s: float) -> None:
        while self.alarms and self.alarms[0].when_s <= now_s:
            alarm = self.alarms.pop(0)
            self.now_s = alarm.when_s
            alarm.callback()
        self.now_s = now_s


async def for_ever() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_write_that_takes_too_long_is_cancelled(clock: Clock) -> None:
    patience = Patience(clock, 30)
    writer = asyncio.create_task(for_ever())
    patience.begin(writer)
    clock.go_to(29)
    assert writer.cancelling() == 0
    clock.go_to(30)
    assert writer.cancelling() == 1
    assert patience.end()
    assert writer.cancelling() == 0


async def test_each_write_has_all_of_the_time_and_all_share_a_timer(clock: Clock) -> None:
    patience = Patience(clock, 30)
    writer = asyncio.create_task(for_ever())
    for second in range(20):
        clock.go_to(second)
        patience.begin(writer)
        assert not patience.end()
    patience.begin(writer)  # At 19 s.
    assert clock.armed == 1
    clock.go_to(48)
    assert writer.cancelling() == 0
    clock.go_to(49)
    assert patience.end()
    assert clock.armed == 2
    writer.cancel()


async def test_no_timer_is_left_where_nothing_is_written(clock: Clock) -> None:
    patience = Patience(clock, 30)
    writer = asyncio.create_task(for_ever())
    patience.begin(writer)
    assert not patience.end()
    clock.go_to(100)
    assert not clock.alarms
    patience.begin(writer)
    assert len(clock.alarms) == 1
    patience.close()
    assert not clock.alarms
    writer.cancel()


async def test_the_cancellation_of_somebody_else_stands(clock: Clock) -> None:
    patience = Patience(clock, 30)
    writer = asyncio.create_task(for_ever())
    patience.begin(writer)
    clock.go_to(30)
    writer.cancel()
    assert not patience.end()
    assert writer.cancelling() == 1
