"""Defects of the message bus, planted like those in ``bugs.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from upbeat_server.engine import bus
from upbeat_server.engine.bus import delivery, groups, notes, restored
from upbeat_server.engine.bus.bus import Bus
from upbeat_server.engine.bus.shelf import Shelf
from upbeat_server.engine.bus.subscription import Subscription

if TYPE_CHECKING:
    from upbeat_server.engine.bus.message import Message
    from upbeat_server.engine.bus.topic import Kept, Topic
    from upbeat_server.engine.engine import Engine


def delivered_after_an_ack() -> Any:
    """After a restart, a subscriber is told again what it has acknowledged."""
    real = restored._restore

    def restore(state: Bus, topic: Topic, name: str, note: notes.SubscriptionNote, now_ms: int) -> None:
        note.done, note.floor = [], 0
        real(state, topic, name, note, now_ms)

    return patch.object(restored, "_restore", restore)


def message_lost_in_a_restart() -> Any:
    """Every other message is not taken over."""
    real = Shelf.restore_message

    def restore_message(self: Shelf, topic: Topic, sequence: int, message: Message) -> None:
        if sequence % 2:
            real(self, topic, sequence, message)

    return patch.object(Shelf, "restore_message", restore_message)


def newest_message_first() -> Any:
    """What came last goes out first."""
    real = Subscription.next_ready

    def next_ready(self: Subscription) -> int:
        first = real(self)
        if not first:
            return 0
        self.put_back(first)
        return max(sequence for sequence in self.wanted if sequence not in self.flight)

    return patch.object(Subscription, "next_ready", next_ready)


def dead_letter_twice() -> Any:
    """A message that is given up becomes two dead letters."""
    real = delivery._give_up

    def give_up(engine: Engine, subscription: Subscription, sequence: int, *rest: Any) -> None:
        with patch.object(Bus, "finish", lambda *_: None):
            real(engine, subscription, sequence, *rest)
        real(engine, subscription, sequence, *rest)

    return patch.object(delivery, "_give_up", give_up)


def publish_acknowledged_and_not_kept() -> Any:
    """A message is answered as durable, and no note of it is written."""

    def put(self: Shelf, _engine: Engine, topic: Topic, kept: Kept) -> None:
        self._store(topic, kept)

    return patch.object(Shelf, "put", put)


def repeat_is_not_flagged() -> Any:
    """What may have arrived before a restart comes again as if it were new."""

    def join(engine: Engine, parent_id: Any, task_id: Any, **_options: Any) -> None:
        groups.join(engine, parent_id, task_id)

    return patch.object(bus, "join", join)


def topic_outlives_its_group() -> Any:
    """What was said in a collaboration stays in the store."""
    return patch.object(Shelf, "drop_all", lambda *_: None)


BUS_BUGS = (
    delivered_after_an_ack,
    message_lost_in_a_restart,
    newest_message_first,
    dead_letter_twice,
    publish_acknowledged_and_not_kept,
    repeat_is_not_flagged,
    topic_outlives_its_group,
)
