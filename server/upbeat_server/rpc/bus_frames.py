"""What is said on the bus, in both directions; alike for agents and for everybody else.

Each publish and each subscription stands for itself: a bad one is answered with a
refusal that names its fields and spoils nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from upbeat_server.engine.bus.message import GROUP_PREFIX, Publish, Subscribe
from upbeat_server.engine.commands import AckPublish, AnswerSubscribe
from upbeat_server.rpc.faults import Faults, is_agent, is_ascii, is_type, read_labels
from upbeat_server.rpc.ids import delivery_text, lease_number, lease_text, read_delivery_id
from upbeat_server.rpc.parts import fill_payload, fill_time
from upbeat_server.rpc.refusals import refusal_message
from upbeat_server.rpc.values import read_payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat.v1 import agent_service_pb2, bus_pb2, message_service_pb2
    from upbeat_server.engine.bus.notes import DeadLetter
    from upbeat_server.engine.commands import Deliver
    from upbeat_server.runtime.mailbag import BusParcel, Mailbag

MESSAGE_ID_CHARS_MAX = 128
TOPIC_WORDS = (
    "must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or digit, without '..'; "
    "group/ and 16 hexadecimal digits is the topic of a collaboration"
)
NAME_WORDS = "must be at most 128 characters of [A-Za-z0-9_.:/@-] without '..'"
NO_LEASE = "is no lease_id that the server gave"
_GROUP = re.compile(r"group/[0-9a-f]{16}")


class BusReader:
    """Reads what a stream or a call says on the bus."""

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max

    def publishes(self, messages: Iterable[bus_pb2.BusPublish], mail: Mailbag) -> list[Publish]:
        """The publishes of a frame; those that are bad are answered at once."""
        publishes = []
        for message in messages:
            faults = Faults()
            publish = self.publish(message, faults)
            if not message.message_id:
                faults.add("message_id", "must be set on a stream: answers are matched by it")
            publish.lease_id = read_lease(message, faults)
            if faults:
                mail.acknowledge(
                    AckPublish(
                        0,
                        message.topic[:128],
                        message.message_id[:MESSAGE_ID_CHARS_MAX],
                        publish.lease_id,
                        0,
                        False,
                        faults.refusal(),
                    )
                )
            else:
                publishes.append(publish)
        return publishes

    def publish(
        self, message: bus_pb2.BusPublish | message_service_pb2.PublishRequest, faults: Faults
    ) -> Publish:
        """A message and what is wrong with it, its lease left out."""
        check_topic(message.topic, "topic", faults)
        payload = read_payload(message.payload, "payload", faults)
        most = self._message_bytes_max
        if len(payload.data) > most:
            faults.add(
                "payload",
                f"has {len(payload.data):,} bytes; the limit is {most:,}: "
                "store it elsewhere and publish a reference",
            )
        if not is_ascii(message.message_id, MESSAGE_ID_CHARS_MAX):
            faults.add("message_id", f"must be at most {MESSAGE_ID_CHARS_MAX} printable ASCII characters")
        if message.to and not is_agent(message.to):
            faults.add("to", NAME_WORDS)
        headers = read_labels(dict(message.headers), "headers", faults)
        return Publish(message.topic, payload, message.message_id, message.to, headers)


def read_subscribes(messages: Iterable[bus_pb2.BusSubscribe], mail: Mailbag) -> list[Subscribe]:
    """The subscriptions of a frame; those that are bad are answered at once."""
    subscribes = []
    for message in messages:
        faults = Faults()
        check_topic(message.topic, "topic", faults)
        if message.subscriber and not is_agent(message.subscriber):
            faults.add("subscriber", NAME_WORDS)
        if message.subscriber and message.topic.startswith(GROUP_PREFIX):
            faults.add("subscriber", "must be empty in the topic of a group: it is the child of the lease")
        if message.action not in (0, 1, 2):
            faults.add("action", f"{message.action} is no Action: use 0, LEAVE (1) or FORGET (2)")
        lease_id = read_lease(message, faults)
        if faults:
            answer = AnswerSubscribe(
                0, message.topic[:128], message.subscriber[:128], lease_id, faults.refusal()
            )
            mail.answer(answer)
        else:
            subscribes.append(Subscribe(message.topic, message.subscriber, lease_id, message.action))
    return subscribes


def read_acks(
    messages: Iterable[bus_pb2.BusDeliveryAck], field: str, faults: Faults
) -> list[tuple[int, int]]:
    """What is acknowledged, as subscription and sequence."""
    acks = []
    for number, message in enumerate(messages):
        found = read_delivery_id(message.delivery_id)
        if found is None:
            faults.add(f"{field}[{number}].delivery_id", "is no delivery_id that the server gave")
        else:
            acks.append(found)
    return acks


def check_topic(topic: str, field: str, faults: Faults) -> None:
    """Name the field if it can be no topic."""
    if not is_type(topic) or (topic.startswith(GROUP_PREFIX) and _GROUP.fullmatch(topic) is None):
        faults.add(field, TOPIC_WORDS)


def read_lease(message: bus_pb2.BusPublish | bus_pb2.BusSubscribe, faults: Faults) -> int:
    """The lease of a child; 0 outside of groups."""
    if not message.topic.startswith(GROUP_PREFIX):
        if message.lease_id:
            faults.add("lease_id", "must be empty outside of the topic of a group")
        return 0
    lease_id = lease_number(message.lease_id)
    if not lease_id and message.lease_id:
        faults.add("lease_id", NO_LEASE)
    return lease_id


def write_bus(
    parcel: BusParcel,
    message: agent_service_pb2.ConnectResponse | message_service_pb2.SubscribeResponse,
) -> None:
    """What the bus has for whoever reads. Answers to publishes are apart: only agents get them."""
    for order in parcel.subscribe_acks:
        answer = message.subscribe_acks.add(topic=order.topic, subscriber=order.subscriber)
        if order.lease_id:
            answer.lease_id = lease_text(order.lease_id)
        if order.refusal is not None:
            answer.refusal.CopyFrom(refusal_message(order.refusal))
    for delivery in parcel.deliveries:
        _write_delivery(message.deliveries.add(), delivery)


def write_publish_acks(parcel: BusParcel, message: agent_service_pb2.ConnectResponse) -> None:
    """Answers to an agent's publishes."""
    for order in parcel.publish_acks:
        ack = message.publish_acks.add(
            topic=order.topic, message_id=order.message_id, sequence=order.sequence, durable=order.durable
        )
        if order.lease_id:
            ack.lease_id = lease_text(order.lease_id)
        if order.refusal is not None:
            ack.refusal.CopyFrom(refusal_message(order.refusal))


def _write_delivery(message: bus_pb2.BusDelivery, order: Deliver) -> None:
    said = order.message
    message.delivery_id = delivery_text(order.subscription_id, order.sequence)
    message.topic = order.topic
    fill_payload(message.payload, said.payload)
    message.message_id = said.message_id
    message.sequence = order.sequence
    message.publisher = said.publisher
    if said.headers:
        message.headers.update(said.headers)
    fill_time(message.publish_time, said.publish_ms)
    message.redelivered = order.redelivered
    message.delivery_attempt = order.attempt
    message.subscriber = order.subscriber


def write_dead_letter(message: bus_pb2.DeadLetter, dead_letter_id: int, letter: DeadLetter) -> None:
    """A dead letter into an empty message."""
    said = letter.message
    message.dead_letter_id = f"{dead_letter_id:016x}"
    message.topic = letter.topic
    message.subscriber = letter.subscriber
    fill_payload(message.payload, said.payload)
    message.message_id = said.message_id
    message.sequence = letter.sequence
    message.publisher = said.publisher
    if said.headers:
        message.headers.update(said.headers)
    fill_time(message.publish_time, said.publish_ms)
    message.delivery_attempts = letter.attempts
    message.reason = letter.reason
    fill_time(message.dead_time, letter.dead_ms)
