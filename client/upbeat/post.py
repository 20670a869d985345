"""How attempts' mail gets from their threads to the session on the I/O thread, and back."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING

from upbeat.errors import AttemptCancelled
from upbeat.refusal import error_of_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat.effects import Delivered, Published, Unsubscribed
    from upbeat.io_thread import Crossing
    from upbeat.mail import Mail
    from upbeat.mailbox import Mailbox
    from upbeat.v1 import bus_pb2


class PostOffice:
    """Of one agent. The first four methods are called on handlers' threads, the rest on the I/O thread."""

    def __init__(self, mail: Mail, io: Crossing, when_said: Callable[[], None]) -> None:
        self._mail = mail
        self._io = io
        self._when_said = when_said
        self._answers: dict[tuple[str, str], Future[bus_pb2.BusPublishAck]] = {}
        self._boxes: dict[str, Mailbox] = {}
        self._ended: set[str] = set()  # Leases that are stopped and whose handlers have not ended.

    def publish(self, publish: bus_pb2.BusPublish, answered: Future[bus_pb2.BusPublishAck]) -> None:
        """Send a message until it is answered."""
        self._io.post(self._publish, publish, answered)

    def subscribe(self, topic: str, lease_id: str, task_id: str, box: Mailbox) -> None:
        """Put what comes into a mailbox."""
        self._io.post(self._subscribe, topic, lease_id, task_id, box)

    def unsubscribe(self, lease_id: str) -> None:
        """Nothing more is wanted."""
        self._io.post(self._unsubscribe, lease_id)

    def acknowledge(self, delivery_id: str) -> None:
        """A message needs not come again."""
        self._io.post(self._acknowledge, delivery_id)

    def _publish(self, publish: bus_pb2.BusPublish, answered: Future[bus_pb2.BusPublishAck]) -> None:
        if publish.lease_id in self._ended:
            _fail(answered, _stopped())
            return
        self._answers[publish.lease_id, publish.message_id] = answered
        self._mail.publish(publish)
        self._when_said()

    def _subscribe(self, topic: str, lease_id: str, task_id: str, box: Mailbox) -> None:
        if lease_id in self._ended:
            box.fail(_stopped())
            return
        self._boxes[lease_id] = box
        self._mail.subscribe(topic, lease_id, task_id)
        self._when_said()

    def _unsubscribe(self, lease_id: str) -> None:
        self._boxes.pop(lease_id, None)
        self._mail.unsubscribe(lease_id)
        self._when_said()

    def _acknowledge(self, delivery_id: str) -> None:
        self._mail.acknowledge(delivery_id)
        self._when_said()

    def published(self, effect: Published) -> None:
        """The server has answered a message."""
        answered = self._answers.pop((effect.lease_id, effect.message_id), None)
        if answered is not None:
            with suppress(InvalidStateError):  # Its handler was cancelled.
                answered.set_result(effect.ack)

    def delivered(self, effect: Delivered) -> None:
        """A message has come."""
        box = self._boxes.get(effect.lease_id)
        if box is not None and box.put(effect.delivery):
            self._acknowledge(effect.delivery.delivery_id)

    def unsubscribed(self, effect: Unsubscribed) -> None:
        """The server delivers nothing more to an attempt."""
        box = self._boxes.pop(effect.lease_id, None)
        if box is not None:
            box.fail(error_of_refusal(effect.refusal))

    def stop(self, lease_id: str) -> None:
        """The attempt is to end: whoever waits in a thread of its own must not wait any longer."""
        self._ended.add(lease_id)
        for key in [key for key in self._answers if key[0] == lease_id]:
            _fail(self._answers.pop(key), _stopped())
        box = self._boxes.pop(lease_id, None)
        if box is not None:
            box.fail(_stopped())

    def forget(self, lease_id: str) -> None:
        """The attempt has ended."""
        self.stop(lease_id)
        self._ended.discard(lease_id)
        self._mail.forget(lease_id)


def _fail(answered: Future[bus_pb2.BusPublishAck], error: BaseException) -> None:
    with suppress(InvalidStateError):
        answered.set_exception(error)


def _stopped() -> AttemptCancelled:
    return AttemptCancelled("CANCELLED")
