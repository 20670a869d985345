"""A client's subscription to a topic: one stream, opened again as often as it must be.

Messages cross from the I/O thread in a mailbox, acknowledgements go the other way.
A named subscription loses nothing over a reconnect; one without a name loses what is
published meanwhile.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from upbeat.backoff import Patience
from upbeat.channel import CHANNELS
from upbeat.connection import LASTED_S, is_worth_reopening
from upbeat.duplex import END, Duplex, End
from upbeat.errors import Aborted, AgentFenced, ClientClosed
from upbeat.io_thread import io_thread
from upbeat.mailbox import Mailbox
from upbeat.message import Message
from upbeat.refusal import error_of_refusal
from upbeat.v1 import bus_pb2, message_service_pb2, message_service_pb2_grpc

if TYPE_CHECKING:
    from upbeat.core import Core
    from upbeat.errors import Refused
    from upbeat.v1 import refusal_pb2

PARTING_S = 2.0
"""How long the server may take to end the stream after the last acknowledgements."""
ACKS_MAX = 1_000


class Subscription:
    """An iterator over the messages of a topic that does not end: `async for message in ...`.

    Going on to the next message acknowledges the one before; leaving the loop does
    not: `await message.ack()` before you break. Leave it with `close`, or use it as a
    context manager; one that nobody holds any more ends by itself, a little later.
    Raises Aborted when another subscriber of the same name takes over.
    """

    def __init__(self, core: Core, topic: str, name: str) -> None:
        self._reader = Reader(core, topic, name)
        self._last: Message | None = None
        self._is_begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        await self.begin()
        if self._last is not None:
            await self._last.ack()
        self._last = None
        self._last = Message(await self._reader.box.next(), self._reader.handled)
        return self._last

    def __del__(self) -> None:
        # A loop that was left by `break` has let go of it: its stream must not stay open, and take messages.
        reader = getattr(self, "_reader", None)
        if reader is not None and reader.is_open:
            with suppress(RuntimeError):  # A forked child has no I/O thread.
                io_thread().crossing.post(reader.abandon)

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def begin(self) -> None:
        """Return once the subscription is in effect: from then on nothing is missed. Idempotent."""
        if not self._is_begun:
            await io_thread().call(self._reader.start())
            self._is_begun = True

    async def close(self) -> None:
        """Send what was acknowledged, and end the stream. A name stays subscribed."""
        await io_thread().call(self._reader.close())


class Reader:
    """The side of a subscription that lives on the I/O thread; a dialogue of its stream."""

    def __init__(self, core: Core, topic: str, name: str) -> None:
        self.box = Mailbox()
        self._connection = core.connection
        self._namespace = core.namespace
        self._subscribe = bus_pb2.BusSubscribe(topic=topic, subscriber=name)
        self._acks: dict[str, None] = {}
        self._patience = Patience(core.connection.patience_s)
        self._is_greeting_due = False
        self._is_closing = False
        self._began: asyncio.Future[None] | None = None
        self._duplex: Duplex | None = None
        self._runner: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._core = core

    async def start(self) -> None:
        """Open the stream; raises why there is no subscription."""
        self._connection.check_open()
        if self._began is None:
            self._core.readers[self] = None
            self._began = asyncio.get_running_loop().create_future()
            self._runner = asyncio.create_task(self._run())
        await asyncio.shield(self._began)

    def handled(self, delivery: bus_pb2.BusDelivery) -> None:
        """A message needs not come again; from any thread."""
        self.box.acknowledged(delivery)
        io_thread().crossing.post(self.acknowledge, delivery.delivery_id)

    def acknowledge(self, delivery_id: str) -> None:
        """Say so to the server."""
        self._acks[delivery_id] = None
        if self._duplex is not None:
            self._duplex.wake()

    @property
    def is_open(self) -> bool:
        """Whether there is a stream, or is to be one."""
        return self._runner is not None and not self._is_closing

    def abandon(self) -> None:
        """Close it without anybody who waits for that."""
        self._closer = asyncio.create_task(self.close())

    async def close(self) -> None:
        """Say what is left to say, and end."""
        self._core.readers.pop(self, None)
        self._is_closing = True
        runner = self._runner
        if runner is None:
            return
        if self._duplex is not None:
            self._duplex.wake()
            await asyncio.wait([runner], timeout=PARTING_S)
        runner.cancel()
        await asyncio.wait([runner])
        self._end(ClientClosed("the subscription was closed"))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            opened_at = loop.time()
            error = await self._serve()
            if self._is_closing:
                return
            if loop.time() - opened_at > LASTED_S:
                self._patience.worked()
            delay_s = self._patience.next_s(loop.time(), error.retry_after)
            if delay_s is None or not is_worth_reopening(error):
                self._end(error)
                return
            await asyncio.sleep(delay_s)

    async def _serve(self) -> Refused:
        shared = CHANNELS.acquire(self._connection.target)
        try:
            stub: Any = message_service_pb2_grpc.MessageServiceStub(shared.channel)
            self._is_greeting_due = True
            self._duplex = Duplex(stub.Subscribe(metadata=self._connection.metadata), self)
            return await self._duplex.run()
        finally:
            self._duplex = None
            await CHANNELS.release(shared)

    def _end(self, error: BaseException) -> None:
        self.box.fail(error)
        if self._began is not None and not self._began.done():
            self._began.set_exception(error)
            self._began.exception()  # Whoever awaits it sees it; nobody has to.

    # The dialogue.

    def next_frame(self) -> message_service_pb2.SubscribeRequest | End | None:
        """The subscription, then acknowledgements."""
        frame = message_service_pb2.SubscribeRequest(namespace=self._namespace)
        if self._is_greeting_due:
            self._is_greeting_due = False
            frame.subscribes.append(self._subscribe)
        elif not self._acks:
            return END if self._is_closing else None
        for delivery_id in list(self._acks)[:ACKS_MAX]:
            frame.delivery_acks.add(delivery_id=delivery_id)
            del self._acks[delivery_id]
        return frame

    def due_s(self) -> float | None:
        """Nothing is ever due by itself."""
        return None

    def received(self, frame: message_service_pb2.SubscribeResponse) -> None:
        """Messages, and what becomes of the subscription."""
        self._patience.worked()
        for answer in frame.subscribe_acks:
            if answer.HasField("refusal"):
                self._is_closing = True
                self._end(_ending(answer.refusal))
            elif self._began is not None and not self._began.done():
                self._began.set_result(None)
        for delivery in frame.deliveries:
            if self.box.put(delivery):
                self._acks[delivery.delivery_id] = None


def _ending(refusal: refusal_pb2.Refusal) -> Refused:
    """Why there is no subscription (any more)."""
    error = error_of_refusal(refusal)
    if isinstance(error, AgentFenced):  # Here it is a name that was taken over, not an agent.
        return Aborted(error.message, reason=error.reason, code=error.code, metadata=error.metadata)
    return error
