"""The bus after a restart: what was kept, and who still wants it.

Every stream is gone. What was under way then may have arrived: it is delivered again
and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.bus import notes
from upbeat_server.engine.bus.message import GROUP_PREFIX
from upbeat_server.engine.bus.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upbeat_server.engine.bus.bus import Bus
    from upbeat_server.engine.bus.topic import Topic
    from upbeat_server.engine.engine import Engine


def restore(engine: Engine, kept: Sequence[tuple[str, str, bytes]], now_ms: int) -> None:
    """Take over the notes, by kind and key; those of other rooms are passed over. Before any step."""
    bus = engine.bus
    subscriptions: list[tuple[Topic, str, notes.SubscriptionNote]] = []
    for kind, key, value in kept:
        if kind not in notes.KINDS:
            continue
        if kind == notes.DEAD_LETTER:
            bus.dead_letters.restore(int(key, 16), notes.decode_dead_letter(value))
            continue
        name, rest = notes.split(key)
        group_id = int(name.removeprefix(GROUP_PREFIX), 16) if name.startswith(GROUP_PREFIX) else 0
        topic = bus.open_topic(name, group_id)
        if kind == notes.MESSAGE:
            bus.shelf.restore_message(topic, int(rest, 16), notes.decode_message(value))
        else:
            note = notes.decode_subscription(value)
            topic.next_sequence = max(topic.next_sequence, note.floor, note.next_sequence)
            subscriptions.append((topic, rest, note))
    for topic, name, note in subscriptions:
        _restore(bus, topic, name, note, now_ms)
    for topic in list(bus.topics.values()):
        if not topic.subscriptions and not topic.group_id:
            bus.close_topic(engine, topic)  # All who read it had no name, and went with their streams.
    bus.changed.clear()
    bus.stirred.clear()


def _restore(bus: Bus, topic: Topic, name: str, note: notes.SubscriptionNote, now_ms: int) -> None:
    subscription = Subscription(note.subscription_id, topic, name, note.source, note.owner)
    subscription.is_written = True
    subscription.done = set(note.done)
    subscription.doubt_below = topic.next_sequence
    subscription.away_since_ms = note.away_since_ms or now_ms
    bus.enter(subscription)
    bus.want_all(subscription, note.floor)
    for sequence, attempts in note.repeats.items():
        if sequence in subscription.wanted:
            subscription.wanted[sequence] = attempts
            subscription.repeats[sequence] = attempts
