"""The bus side of an agent's session, as a dialogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.session_play import Line, Play, assign, connected, disconnected, finish, welcome
from upbeat.session import FRAME_ITEMS_MAX
from upbeat.v1 import agent_service_pb2, bus_pb2

TOPIC = "group/00000000000000fa"
wire: Any = agent_service_pb2


@pytest.fixture
def play() -> Iterator[Play]:
    """An agent whose attempt l1 runs for the child t1."""
    stage = Play() >> connected >> welcome() >> assign("l1")
    stage.said.clear()
    yield stage
    stage.over()


def publish(message_id: str, lease_id: str = "l1", size: int = 0) -> Line:
    message = bus_pb2.BusPublish(topic=TOPIC, message_id=message_id, lease_id=lease_id)
    message.payload.data = b"x" * size
    return lambda play: play.session.mail.publish(message)


def read(lease_id: str = "l1", task_id: str = "t1") -> Line:
    return lambda play: play.session.mail.subscribe(TOPIC, lease_id, task_id)


def acknowledge(delivery_id: str) -> Line:
    return lambda play: play.session.mail.acknowledge(delivery_id)


def hears(**fields: Any) -> Line:
    return lambda play: play.session.received(wire.ConnectResponse(**fields))


def delivery(delivery_id: str, subscriber: str = "t1") -> dict[str, Any]:
    return {"delivery_id": delivery_id, "topic": TOPIC, "subscriber": subscriber}


def test_a_message_is_sent_until_it_is_answered_on_every_new_stream(play: Play) -> None:
    play >> publish("m1") << "frame: publish m1"
    play >> disconnected >> publish("m2") >> connected >> welcome()
    play << "frame: hello holding l1" << "opened" << "frame: publish m1, publish m2"
    answers = [{"message_id": "m1", "lease_id": "l1"}, {"message_id": "m9", "lease_id": "l1"}]
    play >> hears(publish_acks=answers) << "published m1 of l1"
    play >> disconnected >> connected >> welcome()
    play << "frame: hello holding l1" << "opened" << "frame: publish m2"


def test_a_subscription_is_said_again_on_every_new_stream_until_it_ends(play: Play) -> None:
    play >> read() << "frame: read l1"
    play >> disconnected >> connected >> welcome()
    play << "frame: hello holding l1" << "opened" << "frame: read l1"
    play >> (lambda p: p.session.mail.unsubscribe("l1")) << "frame: leave l1"
    play >> disconnected >> connected >> welcome() << "frame: hello holding l1" << "opened"


def test_a_delivery_goes_to_the_attempt_of_its_child_and_to_nobody_else(play: Play) -> None:
    play >> read() << "frame: read l1"
    play >> hears(deliveries=[delivery("d1"), delivery("d2", "t2")]) << "delivered d1 to l1"


def test_a_refused_subscription_is_told_once(play: Play) -> None:
    play >> read() << "frame: read l1"
    refused = {"topic": TOPIC, "lease_id": "l1", "refusal": {"reason": "NOT_A_MEMBER"}}
    play >> hears(subscribe_acks=[refused, refused]) << "unsubscribed l1: NOT_A_MEMBER"
    play >> hears(deliveries=[delivery("d1")])


def test_what_an_attempt_acknowledged_and_published_goes_out_before_its_result(play: Play) -> None:
    def end(stage: Play) -> None:
        stage.session.mail.acknowledge("d1")
        publish("m1")(stage)
        finish("l1")(stage)

    play >> end << "frame: publish m1, acked d1, result l1"


def test_an_attempt_that_has_ended_publishes_and_reads_nothing_more(play: Play) -> None:
    def end(stage: Play) -> None:
        read()(stage)
        publish("m1")(stage)
        stage.session.mail.forget("l1")

    play >> disconnected >> end >> acknowledge("d1") >> connected >> welcome()
    play << "frame: hello holding l1" << "opened" << "frame: acked d1"


def test_frames_are_bounded_in_items_and_bytes(play: Play) -> None:
    def say_much(stage: Play) -> None:
        for number in range(FRAME_ITEMS_MAX + 1):
            publish(f"m{number}")(stage)

    play >> say_much
    assert [len(frame.publishes) for frame in play.sent[-2:]] == [FRAME_ITEMS_MAX, 1]
    play.said.clear()

    def say_large(stage: Play) -> None:
        for number in range(40):
            publish(f"n{number}", size=60_000)(stage)

    play >> say_large
    play.said.clear()
    assert all(frame.ByteSize() < 1_200_000 for frame in play.sent)
    assert sum(len(frame.publishes) for frame in play.sent) == FRAME_ITEMS_MAX + 41
