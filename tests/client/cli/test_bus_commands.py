"""``upbeat bus`` against a real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from tests.support.command_line import EVIL, CommandLine, is_harmless
from upbeat import Client


def topic_of() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def subscribed(address: str) -> Callable[[str, str], None]:
    """Subscribes a name to a topic, and leaves."""

    def subscribe(topic: str, name: str) -> None:
        async def begin() -> None:
            async with Client(address) as up, up.subscribe(topic, name=name):
                pass

        asyncio.run(begin())

    return subscribe


def test_what_nobody_is_subscribed_to_is_not_kept(up: CommandLine) -> None:
    outcome = up("bus", "publish", topic_of(), '{"n": 1}')
    assert (outcome.code, outcome.out) == (0, "0\n")
    assert outcome.err == "nobody is subscribed under a name: it is not kept\n"
    outcome = up("bus", "publish", topic_of(), "x", "--message-id", "m1", "-o", "json")
    assert outcome.document == {"message_id": "m1", "sequence": "0", "durable": False}


def test_a_message_for_somebody_who_is_not_there_is_told(up: CommandLine) -> None:
    outcome = up("bus", "publish", topic_of(), "x", "--to", "nobody")
    assert outcome.code == 3
    assert "leave --to away" in outcome.err


def test_what_is_said_is_printed_and_acknowledged(
    up: CommandLine, subscribed: Callable[[str, str], None]
) -> None:
    topic = topic_of()
    subscribed(topic, "me")
    for message in ('{"n": 1}', EVIL, "last"):
        assert up("bus", "publish", topic, message, "--as", "bob", "--header", "k=v").code == 0
    outcome = up("bus", "subscribe", topic, "--name", "me", "--limit", "2")
    assert outcome.code == 0
    assert '{"n": 1}' in outcome.out
    assert is_harmless(outcome.out)
    outcome = up("bus", "subscribe", topic, "--name", "me", "--limit", "1", "-o", "json")
    (event,) = outcome.events
    assert (event["delivery"]["message_id"] != "", event["delivery"]["publisher"]) == (True, "bob")
    assert event["delivery"]["headers"] == {"k": "v"}


def test_a_topic_that_is_none_is_named(up: CommandLine) -> None:
    assert up("bus", "publish", "a b", "x").code == 4
    outcome = up("bus", "subscribe", "a b")
    assert outcome.code == 4
    assert "topic" in outcome.err


def test_dead_letters_are_listed_dropped_and_sent_again(up: CommandLine) -> None:
    topic = topic_of()
    assert up("bus", "dead-letters", "--topic", topic).err == "no dead letters\n"
    assert up("bus", "dead-letters", "--topic", topic, "-o", "json").document == {"dead_letters": []}
    assert up("bus", "drop", "--topic", topic).out == "0 dropped\n"
    assert up("bus", "redeliver", "--topic", topic).out == "0 on their way again, 0 kept\n"
    assert up("bus", "redeliver", "--topic", topic, "-o", "json").document == {
        "redelivered_count": "0",
        "kept_count": "0",
    }
    assert up("bus", "drop").code == 4
    assert up("bus", "drop", "x").code == 4
