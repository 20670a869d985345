"""What the door may ask of the message bus, on behalf of parties that are not agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.bus.notes import DEAD_LETTER, dead_letter_note
from upbeat_server.engine.events import DeadLettersRuled, MessagePublished
from upbeat_server.runtime.calls import PublishCall, RuleCall
from upbeat_server.runtime.desk import Desk, too_many
from upbeat_server.runtime.subscriptions import SubscriptionStream

if TYPE_CHECKING:
    from upbeat_server.engine.bus.message import Publish
    from upbeat_server.engine.bus.notes import DeadLetter
    from upbeat_server.engine.commands import AckPublish, DeadLettersAnswered


class BusCalls(Desk):
    """Publish, subscribe, look after dead letters."""

    _subscription_streams = 0

    async def publish(self, name: str, publisher: str, publish: Publish) -> AckPublish:
        """Give a message to its topic; answered after the commit that holds it."""
        self.admit_work()
        namespace = await self._catalog.open(name)
        origin = next(self._origins)
        event = MessagePublished(origin, publisher, publish)
        return await self._ask(namespace, PublishCall(namespace), origin, event, 1, len(publish.payload.data))

    async def open_subscription_stream(self, name: str) -> SubscriptionStream:
        """A stream of subscriptions; ``close_subscription_stream`` it in the end."""
        self.admit_work()
        namespace = await self._catalog.open(name)
        most = self.bounds.streams.subscription_streams_max
        if self._subscription_streams >= most:
            raise too_many("streams of subscriptions", "subscription_streams_max", most)
        self._subscription_streams += 1
        return SubscriptionStream(namespace, self._inbox, self.bounds, next(self._origins))

    def close_subscription_stream(self, stream: SubscriptionStream) -> None:
        """The stream is gone."""
        stream.leave()
        self._subscription_streams -= 1

    def dead_letters(
        self, name: str, limit: int, after_id: int = 0, topic: str = "", subscriber: str = ""
    ) -> list[tuple[int, DeadLetter]]:
        """Up to ``limit`` dead letters behind ``after_id``, oldest first; "" is any.

        Those that a commit under way makes are not there yet.
        """
        namespace = self._catalog.known(name)
        if namespace is None:
            return []
        found = namespace.engine.bus.dead_letters
        ids = [
            number
            for number in found.found([], topic, subscriber)
            if number > after_id and (DEAD_LETTER, dead_letter_note(number)) not in namespace.notes
        ]
        return [(number, found.letters[number]) for number in ids[:limit]]

    async def rule_dead_letters(
        self, name: str, dead_letter_ids: list[int], topic: str, subscriber: str, *, is_redelivery: bool
    ) -> DeadLettersAnswered:
        """Drop dead letters, or give them to their subscribers again."""
        self.admit_work()
        namespace = await self._catalog.open(name)
        origin = next(self._origins)
        event = DeadLettersRuled(origin, dead_letter_ids, topic, subscriber, is_redelivery)
        return await self._ask(namespace, RuleCall(namespace), origin, event)
