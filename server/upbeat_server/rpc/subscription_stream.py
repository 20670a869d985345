"""One Subscribe call: a reader, one writer, and a handler that waits for the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat.v1 import message_service_pb2 as pb
from upbeat_server.rpc.bus_frames import read_acks, read_subscribes, write_bus
from upbeat_server.rpc.faults import Faults
from upbeat_server.rpc.pace import Pace
from upbeat_server.rpc.stream_life import StreamLife
from upbeat_server.rpc.submission_stream import namespace_mismatch
from upbeat_server.runtime.refused import Refused, invalid

if TYPE_CHECKING:
    from upbeat_server.rpc.method import Stream
    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.runtime.subscriptions import SubscriptionStream

SUBSCRIBES_MAX = 100
ACKS_MAX = 1_000


class SubscriptionCall:
    """One Subscribe call."""

    def __init__(self, orchestrator: Orchestrator, stream: Stream) -> None:
        self._orchestrator = orchestrator
        self._stream = stream
        self._life = StreamLife()
        self._pace = Pace(orchestrator.bounds.streams.idle_frames_per_second)
        self._subscriptions: SubscriptionStream | None = None
        self._namespace = ""

    async def run(self) -> None:
        """Live until the stream ends. Raises Refused with the reason, if there is one."""
        self._life.start(self._read())
        try:
            refusal = await self._life.closed
        finally:
            if self._subscriptions is not None:
                self._orchestrator.close_subscription_stream(self._subscriptions)
            self._life.cancel()
        if refusal is not None:
            self._orchestrator.observer.stream_ended("subscriptions", refusal.reason)
            raise Refused(refusal)

    async def _read(self) -> None:
        frame: pb.SubscribeRequest | None = await self._stream.read()
        if frame is None:
            self._life.end(None)
            return
        self._namespace = self._stream.namespace(frame.namespace)
        subscriptions = await self._orchestrator.open_subscription_stream(self._namespace)
        self._subscriptions = subscriptions
        self._life.end_with(subscriptions.closed)
        self._life.start(self._write(subscriptions))
        while frame is not None:
            await self._take(frame, subscriptions)
            if not (frame.subscribes or frame.delivery_acks):
                await self._pace.keep()
            frame = await self._stream.read()
        subscriptions.peer_ended()

    async def _take(self, frame: pb.SubscribeRequest, subscriptions: SubscriptionStream) -> None:
        if frame.namespace and frame.namespace != self._namespace:
            raise namespace_mismatch("namespace", self._namespace)
        for name, count, most in (
            ("subscribes", len(frame.subscribes), SUBSCRIBES_MAX),
            ("delivery_acks", len(frame.delivery_acks), ACKS_MAX),
        ):
            if count > most:
                raise invalid(name, f"has {count:,} entries; the limit is {most:,}: send several frames")
        faults = Faults()
        acks = read_acks(frame.delivery_acks, "delivery_acks", faults)
        faults.raise_any()
        subscribes = read_subscribes(frame.subscribes, subscriptions.mail)
        subscriptions.added()
        await subscriptions.tell(subscribes, acks)

    async def _write(self, subscriptions: SubscriptionStream) -> None:
        while (parcel := await subscriptions.take()) is not None:
            message = pb.SubscribeResponse()
            write_bus(parcel, message)
            await self._stream.write(message)
        self._life.end(None)
