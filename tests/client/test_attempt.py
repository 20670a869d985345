"""An attempt has exactly one result, whenever it is stopped."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from upbeat.attempt import Attempt
from upbeat.io_thread import Crossing
from upbeat.skill import Skill
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.work import Work

PATIENCE_S = 20


class Nobody:
    """Who hears nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def test_one_that_is_stopped_before_its_first_step_has_a_result_too() -> None:
    begun: list[Any] = []
    results: asyncio.Queue[wire.AttemptResult] = asyncio.Queue()

    async def handle(value: Any) -> None:
        begun.append(value)

    assignment = wire.Assignment(task_id="1", lease_id="lease")
    work = Work.of(Skill("work", dict, dict), handle)
    attempt = Attempt(assignment, work, cast("Any", Nobody()), results.put_nowait, cast("Any", Nobody()))
    attempt.start(Crossing(asyncio.get_running_loop()), cast("Any", None))
    attempt.stop("CANCELLED")  # Both arrive with one wake-up.
    async with asyncio.timeout(PATIENCE_S):
        result = await results.get()
    assert (result.lease_id, result.error.reason) == ("lease", "CANCELLED")
    assert begun == []
    assert results.empty()
