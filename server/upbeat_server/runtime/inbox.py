"""The inbox of the loop: events that wait for a turn, namespaces in turn.

Bounded in items and bytes. What a call brings is refused when it is full
(SERVER_BUSY); what a stream brings waits at the stream's reader (``room``), so
that flow control reaches the peer. Ends of sessions are always taken: there is
one for each session.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from upbeat_server.runtime.bell import Bell

if TYPE_CHECKING:
    from upbeat_server.engine.events import Event
    from upbeat_server.runtime.bounds import LoopBounds
    from upbeat_server.runtime.namespace import Namespace

Done = Callable[[], None]


class Letter:
    """An event on its way into an engine."""

    __slots__ = ("done", "event", "items", "size")

    def __init__(self, event: Event, items: int, size: int, done: Done | None) -> None:
        self.event = event
        self.items = items
        self.size = size
        # Called after what the event caused was performed; not called if its engine is dropped.
        self.done = done


class Inbox:
    """What waits for the loop."""

    def __init__(self, bounds: LoopBounds) -> None:
        self._items_max = bounds.inbox_items_max
        self._bytes_max = bounds.inbox_bytes_max
        self._ready: deque[Namespace] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self.arrived = Bell()
        self.items = 0
        self.size = 0
        self.is_full = False  # Whether calls are refused and streams wait.

    def offer(self, namespace: Namespace, event: Event, items: int, size: int = 0) -> bool:
        """Take an event unless the inbox is full."""
        if self.is_full:
            return False
        self.push(namespace, event, items, size)
        return True

    def push(
        self, namespace: Namespace, event: Event, items: int = 1, size: int = 0, done: Done | None = None
    ) -> None:
        """Take an event whose sender is bounded otherwise, or waited for ``room``."""
        if not namespace.is_live:
            return
        if not namespace.letters:
            self._ready.append(namespace)
        namespace.letters.append(Letter(event, items, size, done))
        self.items += items
        self.size += size
        if self.items >= self._items_max or self.size >= self._bytes_max:
            self.is_full = True
            self._room.clear()
        self.arrived.ring()

    async def room(self) -> None:
        """Wait until there is room."""
        while self.is_full:
            await self._room.wait()

    def take(self) -> tuple[Namespace, Letter] | None:
        """The next event, one of each namespace in turn; None when there is none."""
        ready = self._ready
        while ready:
            namespace = ready.popleft()
            if not namespace.letters:
                continue
            letter = namespace.letters.popleft()
            if namespace.letters:
                ready.append(namespace)
            self._forget(letter)
            return namespace, letter
        return None

    def discard(self, namespace: Namespace) -> None:
        """Forget all events of a namespace."""
        for letter in namespace.letters:
            self._forget(letter)
        namespace.letters.clear()

    def withdraw(self, namespace: Namespace, unwanted: Callable[[Event], bool]) -> list[Letter]:
        """Take the events out of turn for which ``unwanted`` is true, and answer them."""
        gone = [letter for letter in namespace.letters if unwanted(letter.event)]
        if gone:
            kept = [letter for letter in namespace.letters if not unwanted(letter.event)]
            namespace.letters.clear()
            namespace.letters.extend(kept)
            for letter in gone:
                self._forget(letter)
        return gone

    def _forget(self, letter: Letter) -> None:
        self.items -= letter.items
        self.size -= letter.size
        if self.is_full and self.items < self._items_max and self.size < self._bytes_max:
            self.is_full = False
            self._room.set()
