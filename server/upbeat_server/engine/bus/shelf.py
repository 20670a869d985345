"""The stored messages of all topics: what is durable of them, counted against the bounds.

Rules: whatever is put here, or taken away, is told to the store in the same turn; what nobody
needs any more leaves its id, as long as it is one of the last of its topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.bus import notes
from upbeat_server.engine.bus.topic import IDS_KEPT, Kept
from upbeat_server.engine.commands import PersistNote

if TYPE_CHECKING:
    from upbeat_server.engine.bus.message import Message
    from upbeat_server.engine.bus.topic import Topic
    from upbeat_server.engine.engine import Engine


class Shelf:
    """What is stored."""

    def __init__(self) -> None:
        self.stored = 0  # Messages,
        self.size = 0  # and their bytes.

    def put(self, engine: Engine, topic: Topic, kept: Kept) -> None:
        """Make a message durable."""
        self._store(topic, kept)
        note_message(engine, topic, kept.sequence, kept.message)

    def drop_all(self, engine: Engine, topic: Topic) -> None:
        """A topic is over: forget its messages, and that there were any."""
        for kept in topic.kept.values():
            if kept.is_stored:
                self._unstore(topic, kept)
                note_message(engine, topic, kept.sequence, None)
        for sequence, _, is_noted in topic.tombs:
            if is_noted:
                note_message(engine, topic, sequence, None)

    def restore_message(self, topic: Topic, sequence: int, message: Message) -> None:
        """Take over what was durable. Who wants it is found out afterwards."""
        topic.next_sequence = max(topic.next_sequence, sequence + 1)
        topic.ids[message.key] = sequence, True
        if message.is_spent:
            topic.tombs.append((sequence, message.key, True))
            return
        kept = topic.kept[sequence] = Kept(message, sequence)
        self._store(topic, kept)
        topic.spent[sequence] = None

    def make_room(self, engine: Engine, topic: Topic, size: int) -> bool:
        """Let go of what nobody wants until a message of this size fits; whether it does."""
        bounds = engine.limits.bus
        while (
            (topic.stored and topic.size + size > bounds.topic_bytes_max)
            or topic.stored >= bounds.topic_messages_max
            or self.size + size > bounds.messages_bytes_max
        ):
            oldest = next(iter(topic.spent), 0)
            if not oldest:
                return False
            self.retire(engine, topic, topic.kept[oldest])
        return True

    def remember(self, engine: Engine, topic: Topic, kept: Kept) -> None:
        """Know a repeat of a message from now on."""
        key = kept.message.key
        topic.ids[key] = kept.sequence, kept.is_stored
        if not kept.is_stored:
            self._bury(engine, topic, kept, is_noted=False)

    def retire(self, engine: Engine, topic: Topic, kept: Kept) -> None:
        """Of a message that nobody needs only the id is remembered."""
        del topic.spent[kept.sequence]
        self._unstore(topic, kept)
        note_message(engine, topic, kept.sequence, kept.message.without_body())
        if not kept.listeners:
            del topic.kept[kept.sequence]
        self._bury(engine, topic, kept, is_noted=True)

    def _bury(self, engine: Engine, topic: Topic, kept: Kept, *, is_noted: bool) -> None:
        topic.tombs.append((kept.sequence, kept.message.key, is_noted))
        while len(topic.tombs) > IDS_KEPT:
            sequence, key, was_noted = topic.tombs.popleft()
            if topic.ids.get(key, (0, False))[0] == sequence:
                del topic.ids[key]
            if was_noted:
                note_message(engine, topic, sequence, None)

    def _store(self, topic: Topic, kept: Kept) -> None:
        kept.is_stored = True
        topic.stored += 1
        topic.size += kept.size
        self.stored += 1
        self.size += kept.size

    def _unstore(self, topic: Topic, kept: Kept) -> None:
        kept.is_stored = False
        topic.stored -= 1
        topic.size -= kept.size
        self.stored -= 1
        self.size -= kept.size


def note_message(engine: Engine, topic: Topic, sequence: int, message: Message | None) -> None:
    """Write a message down, or (None) that it is gone."""
    value = None if message is None else notes.encode(message)
    engine.commands.append(PersistNote(notes.MESSAGE, notes.message_note(topic.name, sequence), value))
