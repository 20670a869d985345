"""What is said on the bus: by whom, to whom, under which id."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec

from upbeat_server.engine.model import NO_PAYLOAD, Payload

GROUP_PREFIX = "group/"
"""Topics of collaborations; nobody else may name a topic so."""


class Source(IntEnum):
    """Which kind of party a publisher or subscriber is: names of different kinds are different."""

    CALLER = 0
    AGENT = 1
    MEMBER = 2  # A child of a group, named by its task id.


class SubscribeAction(IntEnum):
    """What is to become of a subscription; the numbers are those of the wire."""

    SUBSCRIBE = 0
    LEAVE = 1
    FORGET = 2


class Publish(msgspec.Struct, gc=False):
    """A message as it arrives. Valid, but for what only the engine knows."""

    topic: str
    payload: Payload
    message_id: str = ""  # Empty: one is given.
    to: str = ""
    headers: dict[str, str] = {}
    lease_id: int = 0


class Subscribe(msgspec.Struct, gc=False):
    """A subscription as it is asked for."""

    topic: str
    subscriber: str = ""
    lease_id: int = 0
    action: int = SubscribeAction.SUBSCRIBE


MessageKey: TypeAlias = tuple[int, str, str]
"""Source, publisher and message_id: what makes a repeat a repeat."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message as it is kept."""

    publisher: str
    message_id: str
    publish_ms: int
    source: int = Source.CALLER
    payload: Payload = NO_PAYLOAD
    to: str = ""  # Name of the one subscriber it is for; empty: all.
    headers: dict[str, str] = {}
    is_spent: bool = False  # Nobody wants it any more: only its id is remembered.

    @property
    def key(self) -> MessageKey:
        """What a repeat has in common with it."""
        return self.source, self.publisher, self.message_id

    @property
    def size(self) -> int:
        """Bytes that count against bounds."""
        headers = sum(len(name) + len(text) for name, text in self.headers.items())
        return len(self.payload.data) + len(self.payload.content_type) + headers

    def without_body(self) -> Message:
        """What is remembered of it when nobody wants it any more."""
        return Message(self.publisher, self.message_id, self.publish_ms, self.source, is_spent=True)


def group_topic(parent_id: int) -> str:
    """The topic of the children of a collaboration."""
    return f"{GROUP_PREFIX}{parent_id:016x}"


def member_name(task_id: int) -> str:
    """A child as subscriber and publisher."""
    return f"{task_id:016x}"
