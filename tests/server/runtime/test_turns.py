"""How turns and commits go together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.runtime import running, settle, submission, submit
from tests.support.troubled_store import TroubledStore
from upbeat_server.runtime.bounds import LoopBounds, RuntimeBounds
from upbeat_server.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat_server.store.store import NamespaceBatch, Store


async def test_while_one_commit_is_in_flight_the_next_batch_gathers() -> None:
    store = TroubledStore()
    all_in_one_turn = RuntimeBounds(loop=LoopBounds(turn_budget_ms=60_000.0))
    async with running(store, bounds=all_in_one_turn) as orchestrator:
        await submit(orchestrator)
        commits = store.commits
        store.hold()
        first = asyncio.create_task(orchestrator.submit("default", [submission()]))
        await store.tried.wait()
        others = [asyncio.create_task(orchestrator.submit("default", [submission()])) for _ in range(50)]
        await settle()
        store.release()
        await asyncio.gather(first, *others)
        assert store.commits == commits + 2


class YieldingStore(TroubledStore):
    """Its commits let others run, as those of a disk do."""

    async def commit(self, batches: list[NamespaceBatch]) -> None:
        await asyncio.sleep(0)
        await super().commit(batches)


@pytest.mark.parametrize("store", [MemoryStore, YieldingStore])
async def test_between_any_two_commits_of_a_backlog_others_run(store: Callable[[], Store]) -> None:
    one_event_a_turn = RuntimeBounds(loop=LoopBounds(turn_budget_ms=0.0))
    async with running(store(), bounds=one_event_a_turn) as orchestrator:
        await submit(orchestrator)
        seen = {orchestrator._loop.commits}
        calls = [asyncio.create_task(orchestrator.submit("default", [submission()])) for _ in range(20)]
        while not all(call.done() for call in calls):
            await asyncio.sleep(0)
            seen.add(orchestrator._loop.commits)
        assert sorted(seen) == list(range(min(seen), min(seen) + 21))
