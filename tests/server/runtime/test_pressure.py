"""The share of its time that the loop has worked."""

from __future__ import annotations

import pytest

from upbeat_server.runtime.pressure import Pressure


class Clocks:
    """Time and work by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.worked_s = 7.0
        self.looks = 0

    def time(self) -> float:
        """Where the hand was put."""
        return self.now_s

    def worked(self) -> float:
        """What was worked; counts who asks."""
        self.looks += 1
        return self.worked_s

    def go(self, seconds: float, share: float) -> None:
        """Let time pass, a share of it at work."""
        self.now_s += seconds
        self.worked_s += seconds * share


def test_it_follows_what_the_thread_does() -> None:
    clocks = Clocks()
    pressure = Pressure(clocks.time, clocks.worked)
    assert pressure.measure() == 0.0
    for _ in range(100):
        clocks.go(0.05, 1.0)
        pressure.measure()
    assert pressure.measure() == pytest.approx(1.0, abs=0.01)
    for _ in range(100):
        clocks.go(0.05, 0.25)
        pressure.measure()
    assert pressure.measure() == pytest.approx(0.25, abs=0.01)


def test_a_long_wait_is_forgotten_at_once_and_counts_at_once() -> None:
    clocks = Clocks()
    pressure = Pressure(clocks.time, clocks.worked)
    clocks.go(10.0, 0.8)
    assert pressure.measure() == pytest.approx(0.8)
    clocks.go(60.0, 0.0)
    assert pressure.measure() == 0.0


def test_the_system_is_not_asked_at_every_turn() -> None:
    clocks = Clocks()
    pressure = Pressure(clocks.time, clocks.worked)
    looks = clocks.looks
    for _ in range(100):
        clocks.go(0.001, 1.0)
        pressure.measure()
    assert clocks.looks - looks <= 5


def test_it_never_exceeds_the_whole() -> None:
    clocks = Clocks()
    pressure = Pressure(clocks.time, clocks.worked)
    clocks.go(1.0, 1.5)  # Clocks of different make may disagree.
    assert pressure.measure() == 1.0
