"""Watches of demand."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.runtime import running, submit
from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.runtime.bounds import RuntimeBounds, WatchBounds
from upbeat_server.runtime.demand_watches import DemandWatches
from upbeat_server.runtime.refused import Refused


async def test_many_turns_wake_a_watch_once() -> None:
    watch = DemandWatches().open()
    for _ in range(3):
        watch.stir()
    await watch.turned()
    again = asyncio.ensure_future(watch.turned())
    await asyncio.sleep(0)
    assert not again.done()
    watch.stir()
    await again


async def test_a_watch_ends_with_its_namespace_and_is_closed_once() -> None:
    watches = DemandWatches()
    watch, other = watches.open(), watches.open()
    other.close()
    other.close()
    assert watches.count == 1
    over = asyncio.ensure_future(watch.over())
    watch.stir()
    await asyncio.sleep(0)
    assert not over.done()
    watches.end(Refusal(reasons.DRAINING, "bye"))
    with pytest.raises(Refused):
        await over
    with pytest.raises(Refused):
        await watch.over()
    watch.close()
    assert watches.count == 0


async def test_a_commit_wakes_the_watches_of_its_namespace_and_shows_the_demand() -> None:
    async with running() as orchestrator:
        assert orchestrator.demand("default", ["echo"]).total == 0  # Nobody has opened it.
        watch = await orchestrator.watch_demand("default")
        await submit(orchestrator)
        await watch.turned()
        assert orchestrator.demand("default", ["echo"]).waiting == 1
        assert orchestrator.open_streams["watch"] == 1
        watch.close()
        assert orchestrator.open_streams["watch"] == 0


async def test_they_are_bounded_with_all_other_watches() -> None:
    async with running(bounds=RuntimeBounds(watches=WatchBounds(watches_max=2))) as orchestrator:
        await orchestrator.watch_agents("default")
        await orchestrator.watch_demand("default")
        with pytest.raises(Refused) as caught:
            await orchestrator.watch_demand("default")
        assert caught.value.refusal.reason == reasons.STREAMS_EXHAUSTED
