"""A stream of subscriptions as the runtime knows it: what is on its way to one subscriber.

The engine bounds what is under way to a stream by what it has acknowledged, so what
waits here is bounded, too; only answers to a flood of subscriptions are not, and a
stream that is behind with those is given up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.events import DeliveriesAcked, StreamSubscribed, SubscriberLeft
from upbeat_server.engine.model import Refusal
from upbeat_server.runtime.mailbag import Mailbag

if TYPE_CHECKING:
    from upbeat_server.engine.bus.message import Subscribe
    from upbeat_server.runtime.bounds import RuntimeBounds
    from upbeat_server.runtime.inbox import Inbox
    from upbeat_server.runtime.mailbag import BusParcel
    from upbeat_server.runtime.namespace import Namespace

SLOW_SUBSCRIBER = Refusal(
    reasons.SLOW_READER, "this stream was read too slowly and is given up: open another and subscribe anew"
)


class SubscriptionStream:
    """One Subscribe call."""

    def __init__(self, namespace: Namespace, inbox: Inbox, bounds: RuntimeBounds, origin: int) -> None:
        self.namespace = namespace
        self.mail = Mailbag(bounds.streams)
        self.closed: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._inbox = inbox
        self._origin = origin
        self._signal = asyncio.Event()
        self._is_over = False
        self._is_finishing = False
        namespace.routes[origin] = self

    async def tell(self, subscribes: list[Subscribe], acks: list[tuple[int, int]]) -> None:
        """Bring what a frame says; waits while the inbox is full."""
        if self._inbox.is_full:
            await self._inbox.room()
        if self._is_over:
            return
        if subscribes:
            event = StreamSubscribed(self._origin, subscribes)
            self._inbox.push(self.namespace, event, len(subscribes))
        if acks:
            self._inbox.push(self.namespace, DeliveriesAcked(self._origin, acks), len(acks))

    def peer_ended(self) -> None:
        """The subscriber sends nothing more, so it can acknowledge nothing: what waits is sent."""
        self._is_finishing = True
        self._signal.set()

    def leave(self) -> None:
        """The stream is gone. Idempotent and synchronous."""
        if self._is_over:
            return
        self._is_over = True
        self.namespace.routes.pop(self._origin, None)
        self._inbox.push(self.namespace, SubscriberLeft(self._origin))

    def fail(self, refusal: Refusal) -> None:
        """The namespace is dropped, the server stops, or nobody reads. The first reason holds."""
        if not self.closed.done():
            self.closed.set_result(refusal)

    def added(self) -> None:
        """Something was put into the bag."""
        self._signal.set()
        if self.mail.is_full:
            self.fail(SLOW_SUBSCRIBER)

    async def take(self) -> BusParcel | None:
        """The next frame, never empty; None after the last."""
        while not self.mail:
            if self._is_finishing:
                return None
            self._signal.clear()
            await self._signal.wait()
        return self.mail.pack()
