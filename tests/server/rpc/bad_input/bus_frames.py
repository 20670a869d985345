"""Publishes and subscriptions that are bad, each by itself: the stream goes on and says what is wrong."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import NO_LEASE, FrameCase
from upbeat.v1 import bus_pb2

pb: Any = bus_pb2
GROUP = "group/0000010000000001"
BAD_TOPICS = {
    "empty": "",
    "with a line break": "a\nb",
    "with a blank": "a b",
    "turned around": "a\u202eb",
    "that climbs": "a/../b",
    "of 129": "t" * 129,
    "of 10 KB": "t" * 10_240,
    "of no group": "group/1",
    "of a group in capitals": "group/000001000000000A",
}
BAD_NAMES = {"with a blank": "a b", "with an escape": "a\x1b[2J", "of 129": "x" * 129, "that climbs": "../x"}


def publish(name: str, field: str, /, reason: str = "INVALID_FIELD", **fields: Any) -> FrameCase:
    """A message with something bad."""
    message = {"topic": "news", "message_id": "m1", **fields}
    return FrameCase(name, pb.BusPublish(**message), reason, field)


def subscribe(name: str, field: str, /, reason: str = "INVALID_FIELD", **fields: Any) -> FrameCase:
    """A subscription with something bad."""
    return FrameCase(name, pb.BusSubscribe(**{"topic": "news", **fields}), reason, field)


PUBLISHES = [
    *(publish(f"to a topic {what}", "topic", topic=text) for what, text in BAD_TOPICS.items()),
    publish("without an id", "message_id", message_id=""),
    publish("with a line break in its id", "message_id", message_id="a\nb"),
    publish("with an id of 129", "message_id", message_id="m" * 129),
    *(publish(f"to somebody {what}", "to", to=text) for what, text in BAD_NAMES.items()),
    publish("to nobody", "", "SUBSCRIBER_NOT_FOUND", to="nobody"),
    publish("of 64 KiB and a byte", "payload", payload={"data": b"x" * 65_537}),
    publish("with a line break in its type", "payload.content_type", payload={"content_type": "a\nb"}),
    publish("of JSON that is none", "payload.json", payload={"json": {"number_value": float("nan")}}),
    publish("with 33 headers", "headers", headers={f"k{n}": "" for n in range(33)}),
    publish("with an escape in a header", "headers.k", headers={"k": "\x1b[2J"}),
    publish("with a lease out of place", "lease_id", lease_id=NO_LEASE),
    publish("to a group with a lease that is none", "lease_id", topic=GROUP, lease_id="../x"),
    publish("to a group without a lease", "", "NOT_A_MEMBER", topic=GROUP),
    publish("to a group with nobody's lease", "", "NOT_A_MEMBER", topic=GROUP, lease_id=NO_LEASE),
]
SUBSCRIBES = [
    *(subscribe(f"to a topic {what}", "topic", topic=text) for what, text in BAD_TOPICS.items()),
    *(subscribe(f"as somebody {what}", "subscriber", subscriber=text) for what, text in BAD_NAMES.items()),
    subscribe("as somebody in a group", "subscriber", topic=GROUP, subscriber="me", lease_id=NO_LEASE),
    subscribe("with a lease out of place", "lease_id", lease_id=NO_LEASE),
    subscribe("to a group with a lease that is none", "lease_id", topic=GROUP, lease_id="x"),
    subscribe("to a group without a lease", "", "NOT_A_MEMBER", topic=GROUP),
    subscribe("to do nobody knows what", "action", action=7),
    subscribe("to do less than nothing", "action", action=-1),
]
