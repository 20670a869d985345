"""The message bus, note by note as it becomes durable, and message by message as it leaves (14, 15)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from upbeat_server.engine.bus import notes
from upbeat_server.engine.bus.message import GROUP_PREFIX, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.ledger import Life
    from upbeat.v1 import agent_service_pb2
    from upbeat_server.engine.bus.message import Message
    from upbeat_server.engine.bus.notes import SubscriptionNote
    from upbeat_server.engine.commands import Deliver
    from upbeat_server.engine.engine import Engine

Reader = tuple[str, str]
"""A topic and who reads it."""


class Letters:
    """Everything that was ever said and kept."""

    def __init__(self, fail: Callable[[int, str], None], known: Callable[[int], Life | None]) -> None:
        self._fail = fail
        self._known = known
        self._said: dict[tuple[str, int], Message] = {}  # Every message that ever was durable.
        self._ids: dict[tuple[str, Any], int] = {}
        self._kept: dict[str, set[int]] = {}  # By topic: those that are durable now.
        self._notes: dict[Reader, SubscriptionNote] = {}
        self._dead: set[tuple[str, str, int]] = set()
        self._first: dict[Reader, int] = {}  # The last one that was delivered for the first time.
        self.counts: Counter[str] = Counter()

    def committed(self, kind: str, key: str, value: bytes | None) -> None:
        """A note is durable, or gone."""
        topic, rest = notes.split(key)
        match kind:
            case notes.MESSAGE:
                self._keep(topic, int(rest, 16), value)
            case notes.SUBSCRIPTION if value is not None:
                self._notes[topic, rest] = notes.decode_subscription(value)
            case notes.SUBSCRIPTION:
                self._notes.pop((topic, rest), None)
            case notes.DEAD_LETTER if value is not None:
                letter = notes.decode_dead_letter(value)
                place = letter.topic, letter.subscriber, letter.sequence
                if place in self._dead:
                    self._fail(14, f"message {place} is a dead letter twice")
                self._dead.add(place)
                self.counts["dead letter"] += 1

    def _keep(self, topic: str, sequence: int, value: bytes | None) -> None:
        kept = self._kept.setdefault(topic, set())
        kept.discard(sequence)
        if value is None:
            return
        message = notes.decode_message(value)
        if message.is_spent:
            return
        kept.add(sequence)
        known = self._said.setdefault((topic, sequence), message)
        if known.key != message.key:
            self._fail(15, f"sequence {sequence} of {topic} was given out twice")
        if self._ids.setdefault((topic, message.key), sequence) != sequence:
            self._fail(14, f"message {message.message_id} of {topic} was kept twice")

    def leaves(self, frame: agent_service_pb2.ConnectResponse) -> None:
        """A frame goes to an agent."""
        for ack in frame.publish_acks:
            if ack.durable and (ack.topic, ack.sequence) not in self._said and not self._is_over(ack.topic):
                self._fail(12, f"message {ack.message_id} of {ack.topic} was acknowledged, not durable")
            self.counts["message acknowledged"] += ack.durable
            self.counts[f"message refused {ack.refusal.reason}"] += ack.HasField("refusal")
        for delivery in frame.deliveries:
            reader = delivery.topic, delivery.subscriber
            if (delivery.topic, delivery.sequence) not in self._said:
                self._fail(
                    12, f"message {delivery.message_id} of {delivery.topic} was delivered, not durable"
                )
            if delivery.publisher == delivery.subscriber:
                self._fail(14, f"{delivery.subscriber} was delivered its own message")
            self.counts["message delivered"] += 1
            self.counts["message delivered again"] += delivery.redelivered
            if not delivery.redelivered:
                if delivery.sequence <= self._first.get(reader, 0):
                    self._fail(15, f"{reader} was delivered {delivery.sequence} after {self._first[reader]}")
                self._first[reader] = delivery.sequence

    def _is_over(self, topic: str) -> bool:
        """Whether the group of a topic has ended: what was said in the turn of its end never was durable."""
        life = self._known(int(topic.removeprefix(GROUP_PREFIX), 16))
        return life is not None and life.is_finished

    def sent(self, command: Deliver) -> None:
        """An engine wants something delivered: what is durable may not say that it was acknowledged."""
        note = self._notes.get((command.topic, command.subscriber))
        if note is not None and (command.sequence in note.done or command.sequence < note.floor):
            self._fail(
                14, f"message {command.sequence} went to {command.subscriber}, who has acknowledged it"
            )

    def recovered_faults(self, engine: Engine) -> Iterator[str]:
        """How the bus after a restart differs from what was durable."""
        for topic, durable in self._kept.items():
            found = engine.bus.topics.get(topic)
            kept = {} if found is None else found.kept
            if kept.keys() != durable:
                yield f"{topic} was recovered with the messages {sorted(kept)}, durable are {sorted(durable)}"
            for subscription in () if found is None else found.subscriptions.values():
                note = self._notes.get((topic, subscription.name))
                wanted = {at for at in durable if self._is_for(topic, at, subscription.name, note)}
                if subscription.wanted.keys() != wanted:
                    has = sorted(subscription.wanted)
                    yield f"{subscription.name} of {topic} wants {has}, and not {sorted(wanted)}"

    def _is_for(self, topic: str, sequence: int, name: str, note: SubscriptionNote | None) -> bool:
        message = self._said[topic, sequence]
        is_own = message.source == Source.MEMBER and message.publisher == name
        is_done = note is not None and (sequence in note.done or sequence < note.floor)
        return not is_own and not is_done and message.to in ("", name)

    def leftovers(self) -> list[str]:
        """Notes of groups, which have all ended."""
        left = [topic for topic, sequences in self._kept.items() if sequences]
        left += [topic for topic, _ in self._notes]
        return [topic for topic in left if topic.startswith(GROUP_PREFIX)]
