"""One Subscribe call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat.v1 import message_service_pb2 as pb
from upbeat_server.rpc.bus_frames import read_acks, read_subscribes, write_bus
from upbeat_server.rpc.caller_stream import CallerStream
from upbeat_server.rpc.faults import Faults
from upbeat_server.runtime.refused import invalid
from upbeat_server.runtime.subscriptions import SubscriptionStream

if TYPE_CHECKING:
    from typing import ClassVar

SUBSCRIBES_MAX = 100
ACKS_MAX = 1_000


class SubscriptionCall(CallerStream[SubscriptionStream]):
    """One Subscribe call."""

    kind: ClassVar[str] = "subscriptions"

    async def open(self) -> SubscriptionStream:
        """What waits for the subscriber."""
        return await self.orchestrator.open_subscription_stream(self.namespace)

    def close(self, opened: SubscriptionStream) -> None:
        """The subscriber is gone."""
        self.orchestrator.close_subscription_stream(opened)

    async def take(self, frame: pb.SubscribeRequest, opened: SubscriptionStream) -> bool:
        """Subscribe and acknowledge."""
        for name, count, most in (
            ("subscribes", len(frame.subscribes), SUBSCRIBES_MAX),
            ("delivery_acks", len(frame.delivery_acks), ACKS_MAX),
        ):
            if count > most:
                raise invalid(name, f"has {count:,} entries; the limit is {most:,}: send several frames")
        faults = Faults()
        acks = read_acks(frame.delivery_acks, "delivery_acks", faults)
        faults.raise_any()
        subscribes = read_subscribes(frame.subscribes, opened.mail)
        opened.added()
        await opened.tell(subscribes, acks)
        return bool(frame.subscribes or frame.delivery_acks)

    async def next_answer(self, opened: SubscriptionStream) -> pb.SubscribeResponse | None:
        """Deliveries, and answers to subscriptions."""
        parcel = await opened.take()
        if parcel is None:
            return None
        message = pb.SubscribeResponse()
        write_bus(parcel, message)
        return message
