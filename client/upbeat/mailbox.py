"""Messages on their way from the I/O thread to whoever reads them, on a loop or in a thread.

Knows what it has seen: a message that comes again while it waits or is being
handled is dropped, one that was acknowledged is acknowledged again.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from upbeat.v1 import bus_pb2

KNOWN_MAX = 10_000
"""Messages that are remembered, the latest ones."""

Key: TypeAlias = tuple[str, str, str]


class Mailbox:
    """Of one subscription. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deliveries: deque[bus_pb2.BusDelivery] = deque()
        self._known: OrderedDict[Key, bool] = OrderedDict()  # Whether it was acknowledged.
        self._waiting: list[Future[None]] = []
        self._error: BaseException | None = None

    def put(self, delivery: bus_pb2.BusDelivery) -> bool:
        """A message has come; True if it was acknowledged before, and should be so again."""
        key = _key(delivery)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                return known
            self._remember(key, is_acked=False)
            self._deliveries.append(delivery)
        self._wake()
        return False

    def acknowledged(self, delivery: bus_pb2.BusDelivery) -> None:
        """A message was handled."""
        with self._lock:
            self._remember(_key(delivery), is_acked=True)

    def forget_unread(self) -> None:
        """What waits will come again, and what is being handled may."""
        with self._lock:
            self._deliveries.clear()
            for key in [key for key, is_acked in self._known.items() if not is_acked]:
                del self._known[key]

    def fail(self, error: BaseException) -> None:
        """Nothing comes any more: readers get the error when they have read what is there."""
        with self._lock:
            self._error = error
        self._wake()

    async def next(self) -> bus_pb2.BusDelivery:
        """The next message. Raises the error that ended it."""
        while True:
            delivery, waiting = self._take()
            if delivery is not None:
                return delivery
            await asyncio.wrap_future(waiting)

    def next_sync(self, timeout: float | None) -> bus_pb2.BusDelivery | None:
        """The next message; None if there is none within so many seconds."""
        delivery, waiting = self._take()
        if delivery is None:
            with suppress(TimeoutError):
                waiting.result(timeout)
            waiting.cancel()
            delivery, waiting = self._take()
            waiting.cancel()
        return delivery

    def _take(self) -> tuple[bus_pb2.BusDelivery | None, Future[None]]:
        waiting: Future[None] = Future()
        with self._lock:
            if self._deliveries:
                return self._deliveries.popleft(), waiting
            if self._error is not None:
                raise self._error
            self._waiting = [*(other for other in self._waiting if not other.cancelled()), waiting]
        return None, waiting

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            with suppress(InvalidStateError):  # Nobody waits any more.
                future.set_result(None)

    def _remember(self, key: Key, *, is_acked: bool) -> None:
        self._known[key] = is_acked
        self._known.move_to_end(key)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


def _key(delivery: bus_pb2.BusDelivery) -> Key:
    return delivery.topic, delivery.publisher, delivery.message_id
