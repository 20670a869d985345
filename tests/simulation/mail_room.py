"""What the steps of a collaboration say to each other, and how well they listen.

A child reads the topic of its group, says a thing or two, and acknowledges most of what it
is told, or on some agents nothing: what it does not comes again, and is a dead letter in the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat.v1 import bus_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from upbeat.effects import Delivered, Published, Unsubscribed
    from upbeat.session import Session
    from upbeat.v1 import agent_service_pb2 as wire

HEED = 0.7
"""Share of what it is told that a child acknowledges, where it acknowledges anything."""


class MailRoom:
    """The mail of all attempts on one agent: in the place of the SDK's post office."""

    def __init__(self, session: Session, rng: Random) -> None:
        self._mail = session.mail
        self._rng = rng
        self._heed: float | None = None  # Drawn when it is needed: a run without talk is the run it was.
        self.when_said: Callable[[], None] = lambda: None

    def begin(self, assignment: wire.Assignment) -> None:
        """A step begins: perhaps it talks and listens."""
        if self._rng.random() < 0.3:
            return
        topic, lease = f"group/{assignment.parent_task_id}", assignment.lease_id
        self._mail.subscribe(topic, lease, assignment.task_id)
        if self._heed is None:
            self._heed = self._rng.choice((HEED, 0.0))
        for number in range(self._rng.randrange(3)):
            publish = bus_pb2.BusPublish(topic=topic, lease_id=lease, message_id=f"{lease}-{number}")
            publish.payload.data = b"said"
            self._mail.publish(publish)
        self.when_said()

    def end(self, lease: str) -> None:
        """A step has ended."""
        self._mail.forget(lease)

    def delivered(self, effect: Delivered) -> None:
        """A message came."""
        if self._rng.random() < (self._heed or 0.0):
            self._mail.acknowledge(effect.delivery.delivery_id)
            self.when_said()

    def published(self, effect: Published) -> None:
        """A message was answered; the oracle reads that at the server's wall."""

    def unsubscribed(self, effect: Unsubscribed) -> None:
        """Nothing more comes."""
