"""A bell wakes who waits, and remembers nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from upbeat_server.runtime.bell import Bell


async def waiting(bell: Bell) -> asyncio.Task[None]:
    """A task that has come to wait."""

    async def wait() -> None:
        await bell.wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task


async def test_who_waits_is_woken_by_any_number_of_rings() -> None:
    bell = Bell()
    for rings in (1, 2):
        task = await waiting(bell)
        assert not task.done()
        for _ in range(rings):
            bell.ring()
        await task


async def test_a_ring_that_nobody_heard_wakes_nobody_later() -> None:
    bell = Bell()
    bell.ring()
    task = await waiting(bell)
    await asyncio.sleep(0)
    assert not task.done()
    bell.ring()
    await task


async def test_who_was_cancelled_does_not_keep_the_next_from_waiting() -> None:
    bell = Bell()
    task = await waiting(bell)
    task.cancel()
    bell.ring()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    later = await waiting(bell)
    bell.ring()
    await later
