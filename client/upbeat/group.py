"""What a child of a collaboration has of its siblings: a topic that they share."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from upbeat import codec
from upbeat.errors import AttemptCancelled, Refused
from upbeat.mailbox import Mailbox
from upbeat.message import Message
from upbeat.refusal import error_of_refusal
from upbeat.v1 import bus_pb2

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncGenerator, Generator, Mapping

    from upbeat.v1 import agent_service_pb2 as wire
    from upbeat.v1 import message_service_pb2

FULL = "TOPIC_FULL"
FULL_WAIT_S = 0.25


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a message: `durable` says that it is kept until everyone it is for has it."""

    message_id: str
    sequence: int
    durable: bool


class Post(Protocol):
    """Where a group's mail goes; callable from any thread."""

    def publish(self, publish: bus_pb2.BusPublish, answered: Future[bus_pb2.BusPublishAck]) -> None:
        """Send a message until it is answered."""

    def subscribe(self, topic: str, lease_id: str, task_id: str, box: Mailbox) -> None:
        """Put what comes into a mailbox."""

    def unsubscribe(self, lease_id: str) -> None:
        """Nothing more is wanted."""

    def acknowledge(self, delivery_id: str) -> None:
        """A message needs not come again."""


class Group:
    """The siblings of an attempt, `ctx.group`.

    What is published here reaches every child of the collaboration but oneself,
    also one that begins later, at least once; what this task has not acknowledged
    when its attempt ends comes again in the next one. The topic ends with the
    collaboration.
    """

    def __init__(self, assignment: wire.Assignment, post: Post, cancelled: threading.Event) -> None:
        self.parent_task_id = assignment.parent_task_id
        self.topic = f"group/{assignment.parent_task_id}"
        self._task_id = assignment.task_id
        self._lease_id = assignment.lease_id
        self._post = post
        self._cancelled = cancelled
        self._box = Mailbox()

    async def publish(
        self,
        value: Any,
        to: str | None = None,
        *,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Published:
        """Say something to all siblings, or to one (`to`, its task_id); returns once it is kept.

        Waits while the topic is full. With a `message_id` of your own a next
        attempt may say it again, and it is heard once. Raises CodecError,
        InvalidField, NotFound for a sibling that is not there, FailedPrecondition.
        """
        publish = self._publish_of(value, to, message_id, headers)
        while True:
            answered = self._send(publish)
            try:
                return _published(await asyncio.wrap_future(answered))
            except Refused as error:
                if error.reason != FULL:
                    raise
                await asyncio.sleep(error.retry_after or FULL_WAIT_S)

    def publish_sync(
        self,
        value: Any,
        to: str | None = None,
        *,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Published:
        """`publish`, for threads. Raises AttemptCancelled when the attempt is no longer wanted."""
        publish = self._publish_of(value, to, message_id, headers)
        while True:
            try:
                return _published(self._send(publish).result())
            except Refused as error:
                if error.reason != FULL:
                    raise
                if self._cancelled.wait(error.retry_after or FULL_WAIT_S):
                    raise AttemptCancelled("CANCELLED") from None

    async def messages(self) -> AsyncGenerator[Message, None]:
        """What siblings say, from the start, until you leave: `async for message in ctx.group.messages()`.

        Going on to the next message acknowledges the one before; leaving the
        loop does not: `await message.ack()` before you break. One loop at a time.
        """
        self._begin()
        try:
            while True:
                message = Message(await self._box.next(), self._acknowledge)
                yield message
                await message.ack()
        finally:
            self._end()

    def messages_sync(self, timeout: float | None = None) -> Generator[Message, None, None]:
        """`messages`, for threads; ends when nothing was said for `timeout` seconds, or when cancelled."""
        self._begin()
        try:
            while (delivery := self._box.next_sync(timeout)) is not None:
                message = Message(delivery, self._acknowledge)
                yield message
                message.ack_sync()
        finally:
            self._end()

    def _begin(self) -> None:
        self._box.forget_unread()
        self._post.subscribe(self.topic, self._lease_id, self._task_id, self._box)

    def _end(self) -> None:
        self._post.unsubscribe(self._lease_id)

    def _acknowledge(self, delivery: bus_pb2.BusDelivery) -> None:
        self._box.acknowledged(delivery)
        self._post.acknowledge(delivery.delivery_id)

    def _publish_of(
        self, value: Any, to: str | None, message_id: str, headers: Mapping[str, str] | None
    ) -> bus_pb2.BusPublish:
        return bus_pb2.BusPublish(
            topic=self.topic,
            payload=codec.encode(value),
            message_id=message_id or uuid.uuid4().hex,
            to=to or "",
            headers=headers,
            lease_id=self._lease_id,
        )

    def _send(self, publish: bus_pb2.BusPublish) -> Future[bus_pb2.BusPublishAck]:
        answered: Future[bus_pb2.BusPublishAck] = Future()
        self._post.publish(publish, answered)
        return answered


def _published(ack: bus_pb2.BusPublishAck) -> Published:
    if ack.HasField("refusal"):
        raise error_of_refusal(ack.refusal)
    return published_of(ack)


def published_of(answer: bus_pb2.BusPublishAck | message_service_pb2.PublishResponse) -> Published:
    """What the server answered."""
    return Published(answer.message_id, answer.sequence, answer.durable)
