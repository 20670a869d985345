"""What the notes of the bus must obey, one by one and together; for ``upbeat check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.bus import notes
from upbeat_server.engine.bus.message import GROUP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoteRules:
    """The notes of one namespace, looked at by kind and key; ``left_over`` when all have been."""

    def __init__(self) -> None:
        self._message_topics: dict[str, None] = {}
        self._subscription_topics: dict[str, None] = {}
        self._subscription_ids: dict[int, str] = {}

    def violations(self, kind: str, key: str, value: bytes) -> Iterator[str]:
        """What is wrong with the next note; those of other rooms are passed over."""
        if kind not in notes.KINDS:
            return
        try:
            yield from self._of(kind, key, value)
        except (msgspec.MsgspecError, ValueError) as error:
            yield f"the note {kind} {key!r} is damaged: {error}"

    def _of(self, kind: str, key: str, value: bytes) -> Iterator[str]:
        if kind == notes.DEAD_LETTER:
            letter = notes.decode_dead_letter(value)
            if int(key, 16) <= 0 or not letter.topic or not letter.subscriber:
                yield f"the dead letter {key!r} is of nobody"
            return
        topic, rest = notes.split(key)
        if kind == notes.MESSAGE:
            self._message_topics[topic] = None
            message = notes.decode_message(value)
            if int(rest, 16) <= 0 or not message.message_id:
                yield f"the message {key!r} has no place in its topic"
            return
        self._subscription_topics[topic] = None
        note = notes.decode_subscription(value)
        first = self._subscription_ids.setdefault(note.subscription_id, key)
        if first != key:
            yield f"the subscriptions {first!r} and {key!r} have one id"
        if note.floor <= 0 or any(sequence <= note.floor for sequence in note.done):
            yield f"the subscription {key!r} begins at {note.floor} and is done with {note.done[:3]}"

    def left_over(self) -> Iterator[str]:
        """Messages that are kept for nobody. A group keeps them for children yet to come."""
        for topic in self._message_topics:
            if topic not in self._subscription_topics and not topic.startswith(GROUP_PREFIX):
                yield f"messages are kept in the topic {topic!r}, which nobody reads"
