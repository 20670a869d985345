"""What must always hold of the bus between two steps (13 and 14 of ``server/ARCHITECTURE.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.bus.message import Source
from upbeat_server.engine.bus.subscription import NO_OUTLET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat_server.engine.bus.subscription import Subscription
    from upbeat_server.engine.bus.topic import Topic
    from upbeat_server.engine.engine import Engine


def check(engine: Engine) -> Iterator[str]:
    """Every violation as a sentence."""
    bus = engine.bus
    for topic in bus.topics.values():
        yield from _topic(engine, topic)
    for subscription in bus.subscriptions.values():
        yield from _subscription(engine, subscription)
    stored = [kept for topic in bus.topics.values() for kept in topic.kept.values() if kept.is_stored]
    if (bus.shelf.stored, bus.shelf.size) != (len(stored), sum(kept.size for kept in stored)):
        yield "the bus miscounts its stored messages"
    if bus.ordinary != sum(not topic.group_id for topic in bus.topics.values()):
        yield "the bus miscounts its topics"
    if bus.group_topics != {topic.group_id: topic for topic in bus.topics.values() if topic.group_id}:
        yield "the bus has lost the topic of a group"
    if bus.members != sum(sub.source == Source.MEMBER for sub in bus.subscriptions.values()):
        yield "the bus miscounts the children that read"
    for outlet, stream in bus.outlets.items():
        if outlet > 0 and outlet not in engine.fleet.sessions:
            yield f"messages are delivered to session {outlet}, which has ended"
        if stream.flight_bytes != sum(sub.flight_bytes for sub in stream.subscriptions.values()):
            yield f"the stream {outlet} miscounts what is under way"
    letters = bus.dead_letters.letters
    if bus.dead_letters.size != sum(letter.size for letter in letters.values()):
        yield "the dead letters miscount their bytes"
    if len(letters) > engine.limits.bus.dead_letters_max:
        yield "there are more dead letters than may be"


def _topic(engine: Engine, topic: Topic) -> Iterator[str]:
    name = f"topic {topic.name}"
    subscriptions = topic.subscriptions.values()
    if not subscriptions and not topic.group_id:
        yield f"{name} is open for nobody"
    if topic.stored > engine.limits.bus.topic_messages_max:
        yield f"{name} has more messages than it may"
    for sequence, kept in topic.kept.items():
        wanting = [sub.is_durable for sub in subscriptions if sequence in sub.wanted]
        if (kept.needs, kept.listeners) != (sum(wanting), len(wanting) - sum(wanting)):
            yield f"{name} miscounts who wants message {sequence}"
        if not wanting and not topic.group_id:
            yield f"{name} keeps message {sequence}, which nobody wants"
        if (sequence in topic.spent) != (kept.is_stored and not kept.needs):
            yield f"{name} is wrong about message {sequence} being spent"
        if kept.needs and not kept.is_stored:
            yield f"{name} would lose message {sequence}"
        if sequence >= topic.next_sequence:
            yield f"{name} will give sequence {sequence} out again"
    stored = [kept.size for kept in topic.kept.values() if kept.is_stored]
    if (topic.stored, topic.size) != (len(stored), sum(stored)):
        yield f"{name} miscounts its stored messages"


def _subscription(engine: Engine, subscription: Subscription) -> Iterator[str]:
    bus, limits = engine.bus, engine.limits.delivery
    name = f"subscription {subscription.key} of {subscription.topic.name}"
    flight, wanted = subscription.flight, subscription.wanted
    if subscription.topic.subscriptions.get(subscription.key) is not subscription:
        yield f"{name} is unknown to its topic"
    if list(wanted) != sorted(wanted) or not wanted.keys() <= subscription.topic.kept.keys():
        yield f"{name} wants what is not there, or in another order"
    if not flight.keys() <= wanted.keys():
        yield f"{name} is sent what it does not want"
    if not (wanted.keys() - flight.keys()) <= set(subscription.ready):
        yield f"{name} has lost messages that it wants"
    if any(attempts > limits.attempts_max for attempts in wanted.values()):
        yield f"{name} was sent a message more often than may be"
    if len(flight) > limits.unacked_max:
        yield f"{name} has {len(flight)} messages under way"
    if subscription.flight_bytes != sum(subscription.topic.kept[sequence].size for sequence in flight):
        yield f"{name} miscounts what is under way"
    if subscription.wanted_bytes != sum(subscription.topic.kept[sequence].size for sequence in wanted):
        yield f"{name} miscounts what it wants"
    if flight and not subscription.timer_ms:
        yield f"{name} would wait for ever"
    stream = bus.outlets.get(subscription.outlet)
    if subscription.outlet == NO_OUTLET:
        if flight or not subscription.is_durable:
            yield f"{name} has no stream"
    elif stream is None or stream.subscriptions.get(subscription.subscription_id) is not subscription:
        yield f"{name} is unknown to its stream"
    elif (
        subscription.subscription_id not in bus.stirred
        and wanted.keys() - flight.keys()
        and len(flight) < limits.unacked_max
        and subscription.flight_bytes < limits.unacked_bytes_max
        and stream.flight_bytes < limits.stream_bytes_max
    ):
        yield f"{name} has room, and nobody looks at what waits for it"
    if subscription.outlet != NO_OUTLET and subscription.away_since_ms:
        yield f"{name} is away and has a stream"
