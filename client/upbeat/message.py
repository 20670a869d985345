"""A message of the bus, as whoever reads a topic sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upbeat import codec

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from upbeat.v1 import bus_pb2


class Message:
    """What somebody published in a topic that you read.

    `redelivered` says that it may have been here before, `attempt` how often it
    was sent to this subscriber. Going on with the loop acknowledges it; `ack`
    does so earlier. What is never acknowledged comes again.
    """

    def __init__(
        self, delivery: bus_pb2.BusDelivery, acknowledge: Callable[[bus_pb2.BusDelivery], None]
    ) -> None:
        self.topic = delivery.topic
        self.message_id = delivery.message_id
        self.sequence = delivery.sequence
        self.publisher = delivery.publisher
        self.headers = dict(delivery.headers)
        self.redelivered = delivery.redelivered
        self.attempt = delivery.delivery_attempt
        self._delivery = delivery
        self._acknowledge = acknowledge
        self._is_acked = False

    def __repr__(self) -> str:
        return f"Message({self.topic!r}, {self.message_id!r}, sequence={self.sequence})"

    @property
    def value(self) -> Any:
        """What was said, as JSON, text, bytes or None. Raises CodecError."""
        return codec.decode(self._delivery.payload)

    @property
    def publish_time(self) -> datetime:
        """When the server took it, in UTC without a time zone."""
        return self._delivery.publish_time.ToDatetime()

    def as_(self, kind: Any) -> Any:
        """What was said, as a dataclass, a pydantic model, a protobuf message, ... Raises CodecError."""
        return codec.decode(self._delivery.payload, kind)

    async def ack(self) -> None:
        """It needs not come again. Idempotent; does not wait for the server."""
        self.ack_sync()

    def ack_sync(self) -> None:
        """`ack`, for threads."""
        if not self._is_acked:
            self._is_acked = True
            self._acknowledge(self._delivery)
