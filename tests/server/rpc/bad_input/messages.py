"""The message bus of parties that are not agents."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input import bus_frames
from tests.server.rpc.bad_input.case import INVALID, MESSAGES, Case, Code, bus_pb, case, invalid

PUBLISH, SUBSCRIBE, LIST = f"{MESSAGES}Publish", f"{MESSAGES}Subscribe", f"{MESSAGES}ListDeadLetters"
DROP, REDELIVER = f"{MESSAGES}DropDeadLetters", f"{MESSAGES}RedeliverDeadLetters"
CODES = {
    "INVALID_FIELD": INVALID,
    "SUBSCRIBER_NOT_FOUND": Code.NOT_FOUND,
    "NOT_A_MEMBER": Code.FAILED_PRECONDITION,
}


def of_frame(row: Any) -> Case:
    """A bad publish of a stream, as a call."""
    publish = row.frame
    request = bus_pb.PublishRequest(topic=publish.topic, message_id=publish.message_id, to=publish.to)
    request.payload.CopyFrom(publish.payload)
    request.headers.update(publish.headers)
    return case(f"call: publish {row.name}", PUBLISH, request, CODES[row.reason], row.reason, row.field)


def frame(**fields: Any) -> Any:
    return bus_pb.SubscribeRequest(**fields)


CASES = [
    *(of_frame(row) for row in bus_frames.PUBLISHES if row.field not in ("message_id", "lease_id")),
    invalid(
        "publish with a line break in its id",
        PUBLISH,
        bus_pb.PublishRequest(topic="t", message_id="a\n"),
        "message_id",
    ),
    *(
        invalid(
            f"publish by somebody {what}",
            PUBLISH,
            bus_pb.PublishRequest(topic="t", publisher=text),
            "publisher",
        )
        for what, text in bus_frames.BAD_NAMES.items()
    ),
    case(
        "publish to a group",
        PUBLISH,
        bus_pb.PublishRequest(topic=bus_frames.GROUP, namespace="default"),
        Code.FAILED_PRECONDITION,
        "NOT_A_MEMBER",
    ),
    invalid("subscribe: a namespace that is none", SUBSCRIBE, frame(namespace="../x"), "namespace"),
    case(
        "subscribe: another namespace later",
        SUBSCRIBE,
        (frame(), frame(namespace="other")),
        INVALID,
        "NAMESPACE_MISMATCH",
        "namespace",
    ),
    invalid("101 subscriptions at once", SUBSCRIBE, frame(subscribes=[{"topic": "t"}] * 101), "subscribes"),
    invalid("1,001 acks at once", SUBSCRIBE, frame(delivery_acks=[{}] * 1_001), "delivery_acks"),
    *(
        invalid(
            f"ack of a delivery {what}",
            SUBSCRIBE,
            frame(delivery_acks=[{"delivery_id": text}]),
            "delivery_acks[0].delivery_id",
        )
        for what, text in {"that is none": "x", "of zeros": "0" * 32, "of capitals": "A" * 32}.items()
    ),
    invalid("dead letters: -1 a page", LIST, bus_pb.ListDeadLettersRequest(page_size=-1), "page_size"),
    invalid("dead letters of no topic", LIST, bus_pb.ListDeadLettersRequest(topic="a b"), "topic"),
    invalid("dead letters of nobody", LIST, bus_pb.ListDeadLettersRequest(subscriber="a b"), "subscriber"),
    case(
        "dead letters: a forged page",
        LIST,
        bus_pb.ListDeadLettersRequest(namespace="default", page_token="AAAA"),
        INVALID,
        "INVALID_PAGE_TOKEN",
        "page_token",
    ),
    *(
        row
        for name, method, request in (
            ("drop", DROP, bus_pb.DropDeadLettersRequest),
            ("redeliver", REDELIVER, bus_pb.RedeliverDeadLettersRequest),
        )
        for row in (
            invalid(f"{name}: everything", method, request(namespace="default"), "topic"),
            invalid(
                f"{name}: an id that is none", method, request(dead_letter_ids=["x"]), "dead_letter_ids[0]"
            ),
            invalid(f"{name}: 1,001 ids", method, request(dead_letter_ids=["1"] * 1_001), "dead_letter_ids"),
            invalid(f"{name}: a topic that is none", method, request(topic="\n"), "topic"),
            invalid(f"{name}: nobody", method, request(topic="t", subscriber="\n"), "subscriber"),
        )
    ),
]
