"""The bus side of an agent's session, without I/O: what attempts publish, read and acknowledge.

A publish is kept, and sent on every new stream, until it is answered; its
message_id makes that safe. A subscription is said again on every new stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat.effects import Delivered, Effect, Published, Unsubscribed
from upbeat.v1 import bus_pb2

if TYPE_CHECKING:
    from upbeat.v1 import agent_service_pb2 as wire


class Mail:
    """Of all attempts of one session."""

    def __init__(self) -> None:
        self._publishes: dict[tuple[str, str], bus_pb2.BusPublish] = {}  # By lease and message_id.
        self._unsent: dict[tuple[str, str], None] = {}
        self._readers: dict[str, bus_pb2.BusSubscribe] = {}  # By lease.
        self._task_ids: dict[str, str] = {}  # Of those leases: who is read for.
        self._subscribes: list[bus_pb2.BusSubscribe] = []
        self._acks: dict[str, None] = {}  # Delivery ids.

    def publish(self, publish: bus_pb2.BusPublish) -> None:
        """Send a message until it is answered."""
        key = publish.lease_id, publish.message_id
        self._publishes[key] = publish
        self._unsent[key] = None

    def subscribe(self, topic: str, lease_id: str, task_id: str) -> None:
        """Read the topic of a group on behalf of a child."""
        self._readers[lease_id] = bus_pb2.BusSubscribe(topic=topic, lease_id=lease_id)
        self._task_ids[lease_id] = task_id
        self._subscribes.append(self._readers[lease_id])

    def unsubscribe(self, lease_id: str) -> None:
        """Read no longer."""
        reader = self._readers.pop(lease_id, None)
        if reader is not None:
            leave = bus_pb2.BusSubscribe.ACTION_LEAVE
            self._subscribes.append(bus_pb2.BusSubscribe(topic=reader.topic, lease_id=lease_id, action=leave))

    def acknowledge(self, delivery_id: str) -> None:
        """A message needs not come again."""
        self._acks[delivery_id] = None

    def forget(self, lease_id: str) -> None:
        """An attempt has ended; what it acknowledged is still said."""
        self._readers.pop(lease_id, None)
        self._task_ids.pop(lease_id, None)
        for key in [key for key in self._publishes if key[0] == lease_id]:
            del self._publishes[key]
            self._unsent.pop(key, None)

    def connected(self) -> None:
        """A new stream: everything that counts is said again."""
        self._unsent = dict.fromkeys(self._publishes)
        self._subscribes = list(self._readers.values())

    def received(self, frame: wire.ConnectResponse) -> list[Effect]:
        """What a frame says of the bus."""
        effects: list[Effect] = []
        for ack in frame.publish_acks:
            if self._publishes.pop((ack.lease_id, ack.message_id), None) is not None:
                self._unsent.pop((ack.lease_id, ack.message_id), None)
                effects.append(Published(ack.lease_id, ack.message_id, ack))
        for answer in frame.subscribe_acks:
            if answer.HasField("refusal") and answer.lease_id in self._readers:
                del self._readers[answer.lease_id]
                effects.append(Unsubscribed(answer.lease_id, answer.refusal))
        lease_by_reader = {
            (reader.topic, self._task_ids[lease_id]): lease_id for lease_id, reader in self._readers.items()
        }
        for delivery in frame.deliveries:
            lease_id = lease_by_reader.get((delivery.topic, delivery.subscriber))
            if lease_id is not None:
                effects.append(Delivered(lease_id, delivery))
        return effects

    def move_to(self, frame: wire.ConnectRequest, size: int, items_max: int, bytes_max: int) -> int:
        """Put what waits into a frame of this size, as far as there is room; answers its size then."""
        for key in list(self._unsent)[:items_max]:
            publish = self._publishes[key]
            if frame.publishes and size + publish.ByteSize() > bytes_max:
                break
            size += publish.ByteSize() + 8
            frame.publishes.append(publish)
            del self._unsent[key]
        frame.subscribes.extend(self._subscribes[:items_max])
        del self._subscribes[:items_max]
        for delivery_id in list(self._acks)[: 4 * items_max]:
            frame.delivery_acks.add(delivery_id=delivery_id)
            del self._acks[delivery_id]
        return size + 40 * len(frame.delivery_acks) + 200 * len(frame.subscribes)
