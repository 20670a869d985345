"""What the bus has for one stream: deliveries, and answers to publishes and subscriptions.

A delivery that is ordered again while it still waits is sent once. What waits goes out
in frames that are bounded in items and bytes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from upbeat_server.engine.commands import AckPublish, AnswerSubscribe, Deliver
    from upbeat_server.runtime.bounds import StreamBounds


class BusParcel(msgspec.Struct):
    """What goes out at once."""

    publish_acks: list[AckPublish] = []
    subscribe_acks: list[AnswerSubscribe] = []
    deliveries: list[Deliver] = []


class Mailbag:
    """What waits for the writer of one stream."""

    def __init__(self, bounds: StreamBounds) -> None:
        self._bounds = bounds
        self._publish_acks: deque[AckPublish] = deque()
        self._subscribe_acks: deque[AnswerSubscribe] = deque()
        self._deliveries: dict[tuple[int, int], Deliver] = {}

    def __bool__(self) -> bool:
        return bool(self._deliveries or self._publish_acks or self._subscribe_acks)

    @property
    def answers(self) -> int:
        """Answers that wait; unlike deliveries, the engine does not bound them."""
        return len(self._publish_acks) + len(self._subscribe_acks)

    @property
    def is_full(self) -> bool:
        """Whether its reader is too slow to be kept."""
        return self.answers > self._bounds.agent_items_max

    def acknowledge(self, order: AckPublish) -> None:
        """Answer a publish."""
        self._publish_acks.append(order)

    def answer(self, order: AnswerSubscribe) -> None:
        """Answer a subscription, or say that it is over."""
        self._subscribe_acks.append(order)

    def deliver(self, order: Deliver) -> None:
        """Send a message."""
        self._deliveries[order.subscription_id, order.sequence] = order

    def pack(self) -> BusParcel:
        """The next frame. Deliveries come after the answer to their subscription, or with it."""
        parcel = BusParcel()
        room = self._bounds.frame_items_max
        while self._publish_acks and len(parcel.publish_acks) < room:
            parcel.publish_acks.append(self._publish_acks.popleft())
        while self._subscribe_acks and len(parcel.subscribe_acks) < room:
            parcel.subscribe_acks.append(self._subscribe_acks.popleft())
        size = 0
        deliveries = self._deliveries
        while deliveries and not self._subscribe_acks and len(parcel.deliveries) < room:
            place = next(iter(deliveries))
            size_next = deliveries[place].message.size + 256
            if parcel.deliveries and size + size_next > self._bounds.frame_bytes_max:
                break
            size += size_next
            parcel.deliveries.append(deliveries.pop(place))
        return parcel
