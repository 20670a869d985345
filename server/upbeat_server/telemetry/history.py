"""How the figures were: a point every few seconds, kept for an hour, for plots that begin with a past.

It lives as long as the server does; whoever needs more has Prometheus.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from upbeat_server.engine.model import AgentState, TaskState

if TYPE_CHECKING:
    from upbeat_server.clock import Clock
    from upbeat_server.engine.census import Census
    from upbeat_server.telemetry.recorder import NamespaceFigures, Recorder
    from upbeat_server.telemetry.windows import Summary

STEP_S: Final = 5
SPAN_S: Final = 3_600
POINTS_MAX: Final = SPAN_S // STEP_S


class Fleet(Protocol):
    """What is counted; the orchestrator is one."""

    @property
    def names(self) -> list[str]:
        """The open namespaces."""

    def census(self, name: str) -> Census | None:
        """Counts of a namespace."""


class Point(msgspec.Struct, frozen=True):
    """One step of a namespace: rates per second over it, counts at its end, keys by Priority."""

    time_ms: int
    submitted: float
    completed: float
    failed: float
    wait: Summary
    run: Summary
    queue_depth: dict[int, int]
    oldest_age_ms: dict[int, int]
    running: int
    slots: int
    slots_in_use: int
    agents: int


class History:
    """The points of all namespaces."""

    def __init__(self, fleet: Fleet, recorder: Recorder, clock: Clock) -> None:
        self._fleet = fleet
        self._recorder = recorder
        self._clock = clock
        self._points: dict[str, deque[Point]] = {}
        self._seen: dict[str, _Seen] = {}

    async def keep(self) -> None:
        """Take a point of every namespace at each step, until cancelled."""
        while True:
            await asyncio.sleep(STEP_S)
            for name in self._fleet.names:
                if name in self._fleet.names:  # Still: it may be lost while others are looked at.
                    self.sample(name)
                await asyncio.sleep(0)

    def sample(self, name: str) -> None:
        """Take a point of a namespace now. The first one of it only begins its history."""
        census = self._fleet.census(name)
        if census is None:
            return
        figures = self._recorder.of(name)
        seen = _Seen(self._recorder.now_s(), figures)
        before = self._seen.get(name)
        self._seen[name] = seen
        if before is None or seen.at_s <= before.at_s:
            return
        elapsed_s = seen.at_s - before.at_s
        point = Point(
            time_ms=self._clock.now_ms(),
            submitted=(seen.submitted - before.submitted) / elapsed_s,
            completed=(seen.completed - before.completed) / elapsed_s,
            failed=(seen.failed - before.failed) / elapsed_s,
            wait=figures.wait.summary_since(before.at_s),
            run=figures.run.summary_since(before.at_s),
            queue_depth=census.queue_depth,
            oldest_age_ms=census.oldest_age_ms,
            running=census.live.get(TaskState.RUNNING, 0),
            slots=census.slots,
            slots_in_use=census.slots_in_use,
            agents=census.agents.get(AgentState.CONNECTED, 0),
        )
        self._points.setdefault(name, deque(maxlen=POINTS_MAX)).append(point)

    def points(self, name: str, since_ms: int = 0) -> list[Point]:
        """The points of a namespace after a time, oldest first."""
        return [point for point in self._points.get(name, ()) if point.time_ms > since_ms]


class _Seen:
    """Counts at one moment."""

    __slots__ = ("at_s", "completed", "failed", "submitted")

    def __init__(self, at_s: float, figures: NamespaceFigures) -> None:
        self.at_s = at_s
        self.submitted = figures.submitted.count
        self.completed = figures.completed.count
        self.failed = figures.failed.count
