"""A topic: the messages that somebody wants, and the ids of those that nobody does any more."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upbeat_server.engine.bus.message import Message, MessageKey
    from upbeat_server.engine.bus.subscription import Subscription

IDS_KEPT = 1_000
"""Ids of messages that are remembered when nobody wants them any more: so many may be repeated."""


class Kept:
    """A message in its topic."""

    __slots__ = ("is_stored", "listeners", "message", "needs", "sequence", "size")

    def __init__(self, message: Message, sequence: int) -> None:
        self.message = message
        self.sequence = sequence
        self.size = message.size
        self.needs = 0  # Durable subscriptions that want it.
        self.listeners = 0  # Others that do.
        self.is_stored = False  # Durable, and counted against the bounds of the topic.


class Topic:
    """A topic and everybody who reads it."""

    __slots__ = ("group_id", "ids", "kept", "name", "next_sequence", "size", "spent", "stored",
                 "subscriptions", "tombs")  # fmt: skip

    def __init__(self, name: str, group_id: int = 0) -> None:
        self.name = name
        self.group_id = group_id  # The collaboration whose topic it is; 0 for an ordinary one.
        self.next_sequence = 1
        self.kept: dict[int, Kept] = {}  # By sequence.
        self.stored = 0  # Of the kept ones, those that are durable,
        self.size = 0  # and their bytes.
        # Stored though nobody wants them, oldest first: a group keeps them for siblings yet to come, as
        # long as nobody needs the room.
        self.spent: dict[int, None] = {}
        # By name; those without one by their id.
        self.subscriptions: dict[str, Subscription] = {}
        # Sequence of every message whose repeat would be known, and whether it was durable.
        self.ids: dict[MessageKey, tuple[int, bool]] = {}
        # Sequence and key of what is only remembered, oldest first, and whether a note says so.
        self.tombs: deque[tuple[int, MessageKey, bool]] = deque()

    @property
    def has_durable(self) -> bool:
        """Whether a message for all is to be kept."""
        return bool(self.group_id) or any(sub.is_durable for sub in self.subscriptions.values())

    def take_sequence(self) -> int:
        """The sequence of the next message."""
        sequence = self.next_sequence
        self.next_sequence += 1
        return sequence
