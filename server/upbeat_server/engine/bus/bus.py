"""All of the bus of one namespace, and the few changes that everything else is made of.

Rules: what changes of a message is told to the store where it changes; what changes of
a subscription is written once, when the turn ends; what could be delivered is stirred,
and delivered when the turn ends (``delivery.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.bus import notes
from upbeat_server.engine.bus.dead_letters import DeadLetters
from upbeat_server.engine.bus.message import Source
from upbeat_server.engine.bus.shelf import Shelf
from upbeat_server.engine.bus.subscription import NO_OUTLET, Subscription
from upbeat_server.engine.bus.topic import Kept, Topic
from upbeat_server.engine.commands import PersistNote
from upbeat_server.engine.timers import Timers

if TYPE_CHECKING:
    from upbeat_server.engine.bus.message import Message
    from upbeat_server.engine.engine import Engine


class Outlet:
    """A stream that is delivered to."""

    __slots__ = ("flight_bytes", "subscriptions")

    def __init__(self) -> None:
        self.subscriptions: dict[int, Subscription] = {}  # By id.
        self.flight_bytes = 0


class Bus:
    """Topics, subscriptions and what is under way."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.group_topics: dict[int, Topic] = {}  # Those of groups, by the id of the collaboration.
        self.subscriptions: dict[int, Subscription] = {}  # By id.
        self.outlets: dict[int, Outlet] = {}
        self.dead_letters = DeadLetters()
        self.timers = Timers()  # Keys are ids of subscriptions.
        self.shelf = Shelf()
        self.ordinary = 0  # Topics that are not of a group.
        self.members = 0  # Subscriptions that are of a group's child.
        self.stirred: dict[int, Subscription] = {}  # May have something to be delivered.
        self.changed: dict[int, Subscription] = {}  # Are to be written when the turn ends.

    # Topics and messages.

    def open_topic(self, name: str, group_id: int = 0) -> Topic:
        """The topic, made if it is new."""
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = Topic(name, group_id)
            if group_id:
                self.group_topics[group_id] = topic
            else:
                self.ordinary += 1
        return topic

    def close_topic(self, engine: Engine, topic: Topic) -> None:
        """Forget a topic that nobody reads any more, and all notes of it."""
        del self.topics[topic.name]
        if topic.group_id:
            del self.group_topics[topic.group_id]
        else:
            self.ordinary -= 1
        self.shelf.drop_all(engine, topic)

    def keep(self, engine: Engine, topic: Topic, message: Message, wanting: list[Subscription]) -> Kept:
        """Give a message to those who want it; durable if one of them, or its group, is."""
        kept = Kept(message, topic.take_sequence())
        for subscription in wanting:
            subscription.want(kept)
            self.stirred[subscription.subscription_id] = subscription
        is_durable = bool(kept.needs or topic.group_id)
        if kept.needs or kept.listeners or is_durable:
            topic.kept[kept.sequence] = kept
        if is_durable:
            self.shelf.put(engine, topic, kept)
            if not kept.needs:
                topic.spent[kept.sequence] = None
        else:
            self._note_sequence(topic)
        return kept

    def _note_sequence(self, topic: Topic) -> None:
        """A message left no trace: where the topic lives on, its sequence is written beside a name."""
        for subscription in topic.subscriptions.values():
            if subscription.is_durable:
                self.changed[subscription.subscription_id] = subscription
                return

    def finish(self, engine: Engine, subscription: Subscription, sequence: int) -> None:
        """A subscription does not want a message any more."""
        topic = subscription.topic
        del subscription.wanted[sequence]
        subscription.repeats.pop(sequence, None)
        self.land(engine, subscription, sequence)
        kept = topic.kept[sequence]
        subscription.wanted_bytes -= kept.size
        if subscription.is_durable:
            subscription.done.add(sequence)
            self.changed[subscription.subscription_id] = subscription
        self._unwant(engine, topic, kept, is_durable=subscription.is_durable)

    def _unwant(self, engine: Engine, topic: Topic, kept: Kept, *, is_durable: bool) -> None:
        if is_durable:
            kept.needs -= 1
        else:
            kept.listeners -= 1
        if kept.is_stored and not kept.needs:
            topic.spent[kept.sequence] = None
            if not topic.group_id:
                self.shelf.retire(engine, topic, kept)
        elif not kept.is_stored and not kept.listeners:
            del topic.kept[kept.sequence]

    # Subscriptions.

    def enter(self, subscription: Subscription) -> None:
        """A new subscription."""
        self.subscriptions[subscription.subscription_id] = subscription
        self.members += subscription.source == Source.MEMBER
        subscription.topic.subscriptions[subscription.key] = subscription
        if subscription.is_durable and not subscription.follows:
            self.changed[subscription.subscription_id] = subscription

    def want_all(self, subscription: Subscription, floor: int) -> None:
        """It wants all that is kept from ``floor`` on, but for what it is done with."""
        topic = subscription.topic
        for sequence, kept in topic.kept.items():
            if sequence >= floor and sequence not in subscription.done and kept.is_stored:
                if not subscription.wants(kept.message):
                    continue
                subscription.want(kept)
                topic.spent.pop(sequence, None)
        self.stirred[subscription.subscription_id] = subscription

    def forget(self, engine: Engine, subscription: Subscription) -> None:
        """A subscription is over; so is its topic if nobody else reads it."""
        self.detach(engine, subscription)
        topic = subscription.topic
        del self.subscriptions[subscription.subscription_id]
        self.members -= subscription.source == Source.MEMBER
        del topic.subscriptions[subscription.key]
        self.stirred.pop(subscription.subscription_id, None)
        self.changed.pop(subscription.subscription_id, None)
        for sequence in subscription.wanted:
            self._unwant(engine, topic, topic.kept[sequence], is_durable=subscription.is_durable)
        if subscription.is_durable and subscription.is_written:
            key = notes.subscription_note(topic.name, subscription.name)
            engine.commands.append(PersistNote(notes.SUBSCRIPTION, key, None))
        if not topic.subscriptions and not topic.group_id:
            self.close_topic(engine, topic)

    def attach(self, subscription: Subscription, outlet: int) -> None:
        """Deliver to this stream from now on. It must have none."""
        subscription.outlet = outlet
        stream = self.outlets.setdefault(outlet, Outlet())
        stream.subscriptions[subscription.subscription_id] = subscription
        self.stirred[subscription.subscription_id] = subscription
        if subscription.away_since_ms:
            subscription.away_since_ms = 0
            if subscription.follows:
                return
            self.changed[subscription.subscription_id] = subscription

    def detach(self, engine: Engine, subscription: Subscription) -> None:
        """Deliver to no stream; what was under way is ready again."""
        outlet = subscription.outlet
        if outlet == NO_OUTLET:
            return
        stream = self.outlets[outlet]
        del stream.subscriptions[subscription.subscription_id]
        self._make_room(engine, stream, subscription.flight_bytes)
        if not stream.subscriptions:
            del self.outlets[outlet]
        subscription.outlet = NO_OUTLET
        subscription.lease_id = 0
        subscription.ground()
        self.disarm(subscription)
        if subscription.is_durable:
            subscription.away_since_ms = engine.clock_ms
        if subscription.is_durable and not subscription.follows:
            self.changed[subscription.subscription_id] = subscription

    def launch(self, subscription: Subscription, kept: Kept, due_ms: int) -> None:
        """A message goes out."""
        subscription.flight[kept.sequence] = due_ms
        subscription.flight_bytes += kept.size
        self.outlets[subscription.outlet].flight_bytes += kept.size
        if not subscription.timer_ms or due_ms < subscription.timer_ms:
            self.arm(subscription)

    def land(self, engine: Engine, subscription: Subscription, sequence: int) -> None:
        """A message is under way no longer, if it was: there is room for another."""
        if subscription.flight.pop(sequence, None) is None:
            return
        size = subscription.topic.kept[sequence].size
        subscription.flight_bytes -= size
        self._make_room(engine, self.outlets[subscription.outlet], size)
        self.stirred.pop(subscription.subscription_id, None)  # Others that waited for room go first.
        self.stirred[subscription.subscription_id] = subscription
        if not subscription.flight:
            self.disarm(subscription)

    def _make_room(self, engine: Engine, stream: Outlet, size: int) -> None:
        """Bytes are under way in a stream no longer; if it was full, all that it delivers may go on."""
        if size and stream.flight_bytes >= engine.limits.delivery.stream_bytes_max:
            self.stirred.update(stream.subscriptions)
        stream.flight_bytes -= size

    def arm(self, subscription: Subscription) -> None:
        """Set the timer of a subscription to what is due first."""
        self.disarm(subscription)
        if subscription.flight:
            due_ms = min(subscription.flight.values())
            subscription.timer_ms = self.timers.set(subscription.subscription_id, due_ms)

    def disarm(self, subscription: Subscription) -> None:
        """Clear the timer of a subscription."""
        if subscription.timer_ms:
            self.timers.clear(subscription.subscription_id, subscription.timer_ms)
            subscription.timer_ms = 0
