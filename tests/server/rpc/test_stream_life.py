"""A stream ends once, for the first reason there is."""

from __future__ import annotations

import asyncio

import pytest

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.rpc.method import PeerGone
from upbeat_server.rpc.stream_life import StreamLife
from upbeat_server.runtime.refused import Refused

BUSY = Refusal(reasons.SERVER_BUSY, "busy")


async def raising(error: BaseException) -> None:
    raise error


async def test_a_refusal_of_a_part_ends_the_stream_with_it() -> None:
    life = StreamLife()
    life.start(raising(Refused(BUSY)))
    assert await life.closed == BUSY


async def test_a_peer_that_is_gone_ends_it_in_peace() -> None:
    life = StreamLife()
    life.start(raising(PeerGone()))
    assert await life.closed is None


async def test_a_defect_of_a_part_reaches_the_handler() -> None:
    life = StreamLife()
    life.start(raising(ZeroDivisionError("a defect")))
    with pytest.raises(ZeroDivisionError):
        await life.closed


async def test_a_part_that_returns_ends_nothing_and_the_first_reason_stands() -> None:
    life = StreamLife()
    life.start(asyncio.sleep(0))
    other: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
    life.end_with(other)
    other.set_result(BUSY)
    assert await life.closed == BUSY
    life.end(None)
    life.start(raising(Refused(Refusal(reasons.DRAINING, "later"))))
    await asyncio.sleep(0)
    assert life.closed.result() == BUSY


async def test_what_runs_is_stopped_with_the_stream() -> None:
    life = StreamLife()
    stopped = asyncio.Event()

    async def part() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    life.start(part())
    await asyncio.sleep(0)
    life.cancel()
    await stopped.wait()
    assert not life.closed.done()
