"""Limits that tasks of a run share, and the pauses of its operator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.simulation.calls import Stub
from tests.simulation.teamwork import TYPES
from upbeat.v1 import agent_service_pb2

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.mix import Mix
    from tests.simulation.world import World

LIMITS: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"key": "one", "max_running": 1},),
    ({"key": "two", "max_running": 2},),
    ({"key": "rate", "per_second": 0.5},),
    ({"key": "rate", "per_second": 1.5, "max_running": 3},),
    ({"key": "slow", "per_second": 0.1},),
    ({"key": "one", "max_running": 2}, {"key": "rate", "per_second": 0.5}),
    ({"key": "two", "max_running": 2}, {"key": "one", "max_running": 1}, {"key": "slow", "per_second": 0.1}),
)


RESUMES_MAX = 1_000
"""Tries to resume a type, a second apart: many more than a run has seconds."""


class Limiter:
    """Gives some of the work limits, by a stream of numbers of its own."""

    def __init__(self, mix: Mix, name: str) -> None:
        self._share = 2 * mix.strength("quotas")
        self._rng = mix.rng(name)

    def limit(self, spec: Any) -> None:
        """Perhaps let a spec name some."""
        if self._share and self._rng.random() < self._share:
            for limit in self._rng.choice(LIMITS):
                spec.limits.add(**limit)


class Pauses:
    """One type at a time is paused for a while."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._is_pausing = False

    def strike(self) -> None:
        """An operator pauses a type, and resumes it later, whatever it takes."""
        if not self._is_pausing:
            self._is_pausing = True
            work = self._pause(self._rng.choice(TYPES), self._rng.choice((4.0, 15.0, 30.0)))
            self._world.loop.start(self._world.reader.host, work)

    async def _pause(self, task_type: str, for_s: float) -> None:
        world = self._world
        stub = Stub(world.network, world.reader.host, "AgentService")
        request = agent_service_pb2.PauseTypeRequest(type=task_type)
        answers = await asyncio.gather(stub.PauseType(request), return_exceptions=True)
        if not isinstance(answers[0], BaseException):
            world.order.paused.add(task_type)  # It holds from now on, over all restarts.
            world.order.counts["type paused"] += 1
        await asyncio.sleep(for_s)
        world.order.paused.discard(task_type)
        again = agent_service_pb2.ResumeTypeRequest(type=task_type)
        for _ in range(RESUMES_MAX):
            answers = await asyncio.gather(stub.ResumeType(again), return_exceptions=True)
            if not isinstance(answers[0], BaseException):
                break
            await asyncio.sleep(1.0)
        self._is_pausing = False
