"""Delivery: what goes out at the end of a turn, what comes back, what time does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.bus import notes
from upbeat_server.engine.bus.notes import DeadLetter, SubscriptionNote
from upbeat_server.engine.bus.subscription import NO_OUTLET
from upbeat_server.engine.commands import DeadLettersAnswered, Deliver, PersistNote

if TYPE_CHECKING:
    from upbeat_server.engine.bus.subscription import Subscription
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import DeadLettersRuled


def acknowledge(engine: Engine, outlet: int, deliveries: list[tuple[int, int]]) -> None:
    """A stream acknowledges messages by subscription and sequence. Only what it reads itself counts."""
    for subscription_id, sequence in deliveries:
        subscription = engine.bus.subscriptions.get(subscription_id)
        if subscription is None or subscription.outlet != outlet or sequence not in subscription.wanted:
            continue
        if not subscription.wanted[sequence] and sequence >= subscription.doubt_below:
            continue  # It was never sent.
        engine.counters.acked += 1
        engine.bus.finish(engine, subscription, sequence)


def end_turn(engine: Engine, now_ms: int) -> None:
    """What is due is ready again, what is ready goes out, what changed is written."""
    bus = engine.bus
    for subscription_id in bus.timers.due(now_ms):
        subscription = bus.subscriptions.get(subscription_id)
        if subscription is not None:
            subscription.timer_ms = 0
            _time_out(engine, subscription, now_ms)
    while bus.stirred:  # Whoever gives a message up may make room for others.
        stirred, bus.stirred = bus.stirred, {}
        for subscription in stirred.values():
            _deliver(engine, subscription, now_ms)
    changed, bus.changed = bus.changed, {}
    for subscription in changed.values():
        _write(engine, subscription)


def expire(engine: Engine, now_ms: int) -> None:
    """Forget names that stayed away for too long, and old dead letters."""
    bus = engine.bus
    before_ms = now_ms - engine.limits.delivery.away_ms
    for subscription in list(bus.subscriptions.values()):
        if 0 < subscription.away_since_ms < before_ms and not subscription.topic.group_id:
            for sequence in list(subscription.wanted):
                _give_up(engine, subscription, sequence, reasons.SUBSCRIBER_FORGOTTEN, now_ms)
            bus.forget(engine, subscription)
    bus.dead_letters.expire(engine, now_ms - engine.limits.retention.finished_ms)


def rule(engine: Engine, event: DeadLettersRuled) -> None:
    """Drop dead letters, or give them to their subscribers again."""
    bus = engine.bus
    found = bus.dead_letters.found(event.dead_letter_ids, event.topic, event.subscriber)
    count = 0
    for dead_letter_id in found:
        if event.is_redelivery and not _revive(engine, bus.dead_letters.letters[dead_letter_id]):
            continue
        bus.dead_letters.drop(engine, dead_letter_id)
        count += 1
    engine.commands.append(DeadLettersAnswered(event.origin, count, len(found) - count))


def _revive(engine: Engine, letter: DeadLetter) -> bool:
    """Make it a message for its subscriber alone, behind all others."""
    bus = engine.bus
    topic = bus.topics.get(letter.topic)
    subscription = topic.subscriptions.get(letter.subscriber) if topic is not None else None
    if topic is None or subscription is None or not bus.shelf.make_room(engine, topic, letter.size):
        return False
    message = msgspec.structs.replace(letter.message, to=letter.subscriber)
    bus.keep(engine, topic, message, [subscription])
    return True


def _time_out(engine: Engine, subscription: Subscription, now_ms: int) -> None:
    for sequence, due_ms in list(subscription.flight.items()):
        if due_ms <= now_ms:
            engine.bus.land(engine, subscription, sequence)
            subscription.put_back(sequence)
    engine.bus.arm(subscription)


def _deliver(engine: Engine, subscription: Subscription, now_ms: int) -> None:
    """Send what is ready as far as there is room, the oldest first."""
    bus, limits = engine.bus, engine.limits.delivery
    if subscription.outlet == NO_OUTLET:
        return
    stream = bus.outlets[subscription.outlet]
    while (
        len(subscription.flight) < limits.unacked_max
        and subscription.flight_bytes < limits.unacked_bytes_max
        and stream.flight_bytes < limits.stream_bytes_max
        and (sequence := subscription.next_ready())
    ):
        if subscription.wanted[sequence] >= limits.attempts_max:
            _give_up(engine, subscription, sequence, reasons.ATTEMPTS_EXHAUSTED, now_ms)
        else:
            _send(engine, subscription, sequence, now_ms)


def _send(engine: Engine, subscription: Subscription, sequence: int, now_ms: int) -> None:
    bus, limits = engine.bus, engine.limits.delivery
    subscription.wanted[sequence] += 1
    attempt = subscription.wanted[sequence]
    is_repeat = attempt > 1 or sequence < subscription.doubt_below
    engine.counters.delivered += 1
    engine.counters.redelivered += is_repeat
    if attempt > 1 and subscription.is_durable:
        subscription.repeats[sequence] = attempt
        bus.changed[subscription.subscription_id] = subscription
    kept = subscription.topic.kept[sequence]
    wait_ms = min(limits.redelivery_ms << min(attempt - 1, 20), limits.redelivery_max_ms)
    bus.launch(subscription, kept, now_ms + max(wait_ms, limits.redelivery_ms))
    engine.commands.append(
        Deliver(
            subscription.outlet,
            subscription.subscription_id,
            subscription.topic.name,
            subscription.name,
            sequence,
            kept.message,
            attempt,
            is_repeat,
        )
    )


def _give_up(engine: Engine, subscription: Subscription, sequence: int, reason: str, now_ms: int) -> None:
    """A message that is not acknowledged after all: a dead letter where somebody may ask for it."""
    if subscription.is_durable:
        letter = DeadLetter(
            subscription.topic.name,
            subscription.name,
            sequence,
            subscription.topic.kept[sequence].message,
            subscription.wanted[sequence],
            reason,
            now_ms,
        )
        engine.bus.dead_letters.add(engine, letter)
    engine.bus.finish(engine, subscription, sequence)


def _write(engine: Engine, subscription: Subscription) -> None:
    """What is durable of a subscription, as it is now."""
    floor = subscription.floor
    if subscription.done:
        # What is not kept any more nobody can want again, so this never holds more than the topic does.
        kept = subscription.topic.kept
        subscription.done = {seen for seen in subscription.done if seen > floor and seen in kept}
    note = SubscriptionNote(
        subscription.subscription_id,
        floor,
        subscription.source,
        subscription.owner,
        sorted(subscription.done),
        dict(subscription.repeats),
        subscription.away_since_ms,
        subscription.topic.next_sequence,
    )
    key = notes.subscription_note(subscription.topic.name, subscription.name)
    subscription.is_written = True
    engine.commands.append(PersistNote(notes.SUBSCRIPTION, key, notes.encode(note)))
