"""The inbox: namespaces in turn, and bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from upbeat_server.engine.events import AdoptionStarted, TaskCancelled, TasksPurged
from upbeat_server.engine.model import TaskId
from upbeat_server.runtime.bounds import LoopBounds
from upbeat_server.runtime.inbox import Inbox


class Lane:
    """What the inbox needs of a namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_live = True
        self.letters: deque[Any] = deque()


def order_of(inbox: Inbox) -> str:
    order = ""
    while (taken := inbox.take()) is not None:
        order += taken[0].name
    return order


async def test_namespaces_take_turns() -> None:
    inbox, busy, quiet = Inbox(LoopBounds()), Lane("b"), Lane("q")
    for lane in (busy, busy, busy, busy, quiet, busy, quiet):
        inbox.push(lane, AdoptionStarted())  # type: ignore[arg-type]
    assert order_of(inbox) == "bqbqbbb"
    assert inbox.items == 0


async def test_calls_are_refused_and_streams_wait_while_it_is_full() -> None:
    inbox, lane = Inbox(LoopBounds(inbox_items_max=2, inbox_bytes_max=100)), Lane("a")
    assert inbox.offer(lane, AdoptionStarted(), 1, 10)  # type: ignore[arg-type]
    assert inbox.offer(lane, AdoptionStarted(), 1, 90)  # type: ignore[arg-type]
    assert not inbox.offer(lane, AdoptionStarted(), 1)  # type: ignore[arg-type]
    waiting = asyncio.create_task(inbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    inbox.take()
    await waiting
    assert inbox.size == 90


async def test_a_namespace_that_is_dropped_takes_its_events_along() -> None:
    inbox, lost, other = Inbox(LoopBounds()), Lane("l"), Lane("o")
    for lane in (lost, other, lost):
        inbox.push(lane, AdoptionStarted(), 1, 10)  # type: ignore[arg-type]
    inbox.discard(lost)  # type: ignore[arg-type]
    lost.is_live = False
    inbox.push(lost, AdoptionStarted())  # type: ignore[arg-type]
    assert (inbox.items, inbox.size) == (1, 10)
    assert order_of(inbox) == "o"


async def test_unwanted_events_are_taken_out_of_turn_and_the_others_keep_their_order() -> None:
    inbox, lane = Inbox(LoopBounds()), Lane("a")
    events = [TaskCancelled(1, TaskId(1)), TasksPurged([]), TaskCancelled(2, TaskId(2)), AdoptionStarted()]
    for event in events:
        inbox.push(lane, event, 1, 5)  # type: ignore[arg-type]
    gone = inbox.withdraw(lane, lambda event: isinstance(event, TaskCancelled))  # type: ignore[arg-type]
    assert [letter.event for letter in gone] == [events[0], events[2]]
    assert (inbox.items, inbox.size) == (2, 10)
    assert [letter.event for letter in lane.letters] == [events[1], events[3]]
