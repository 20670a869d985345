"""How the bus is kept: notes of three kinds.

``bus.message``       a message under ``{topic} {sequence}``; without its body when only
                      its id is remembered
``bus.subscription``  a named subscription under ``{topic} {name}``
``bus.dead_letter``   a dead letter under its id

What a subscription wants is not written down: it follows from what is kept, where it
begins, and what it is done with. Maps of named fields with defaults, so that fields
can be added.
"""

from __future__ import annotations

import msgspec

from upbeat_server.engine.bus.message import Message

MESSAGE = "bus.message"
SUBSCRIPTION = "bus.subscription"
DEAD_LETTER = "bus.dead_letter"
KINDS = (DEAD_LETTER, MESSAGE, SUBSCRIPTION)


class SubscriptionNote(msgspec.Struct, omit_defaults=True):
    """What is durable of a subscription."""

    subscription_id: int
    floor: int  # It wants nothing below.
    source: int = 0
    owner: str = ""
    done: list[int] = []  # Above the floor.
    repeats: dict[int, int] = {}  # How often a message was sent, where that is more than once.
    away_since_ms: int = 0
    next_sequence: int = 0  # Of the topic, when this was written.


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that a subscriber did not acknowledge."""

    topic: str
    subscriber: str
    sequence: int
    message: Message
    attempts: int
    reason: str
    dead_ms: int

    @property
    def size(self) -> int:
        """Bytes that count against bounds."""
        return self.message.size


encode = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode
decode_subscription = msgspec.msgpack.Decoder(SubscriptionNote).decode
decode_dead_letter = msgspec.msgpack.Decoder(DeadLetter).decode


def message_note(topic: str, sequence: int) -> str:
    """The key of a message."""
    return f"{topic} {sequence:016x}"


def subscription_note(topic: str, name: str) -> str:
    """The key of a subscription."""
    return f"{topic} {name}"


def dead_letter_note(dead_letter_id: int) -> str:
    """The key of a dead letter."""
    return f"{dead_letter_id:016x}"


def split(key: str) -> tuple[str, str]:
    """The topic, and what it holds under that key. No topic and no name has a blank."""
    topic, _, rest = key.rpartition(" ")
    return topic, rest
