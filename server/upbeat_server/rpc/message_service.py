"""MessageService: the message bus for parties that are not agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from upbeat.v1 import bus_pb2
from upbeat.v1 import message_service_pb2 as pb
from upbeat_server.rpc.bus_frames import NAME_WORDS, BusReader, check_topic, write_dead_letter
from upbeat_server.rpc.faults import Faults, is_agent
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.ids import read_dead_letter_id
from upbeat_server.rpc.page_token import PageTokens, read_page_size
from upbeat_server.rpc.subscription_stream import SubscriptionCall

if TYPE_CHECKING:
    from upbeat_server.engine.commands import DeadLettersAnswered
    from upbeat_server.rpc.method import Call, Stream
    from upbeat_server.runtime.orchestrator import Orchestrator

IDS_MAX = 1_000
PAGE_DEFAULT = 100
PAGE_MAX = 1_000
ITEM_BYTES = 8
"""What a page adds to a dead letter."""


class MessageService:
    """Serves ``upbeat.v1.MessageService``."""

    descriptor = pb.DESCRIPTOR.services_by_name["MessageService"]
    roles: ClassVar[dict[str, Role | None]] = {
        "publish": Role.SUBMITTER,
        "subscribe": Role.SUBMITTER,
        "list_dead_letters": Role.VIEWER,
        "drop_dead_letters": Role.ADMIN,
        "redeliver_dead_letters": Role.ADMIN,
    }

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._reader = BusReader(orchestrator.bounds.payloads.message_bytes_max)
        self._tokens = PageTokens(orchestrator.secret)
        self._page_bytes_max = orchestrator.bounds.payloads.page_bytes_max

    async def publish(self, request: pb.PublishRequest, call: Call) -> pb.PublishResponse:
        """Give a message to a topic."""
        namespace = call.namespace(request.namespace)
        faults = Faults()
        publish = self._reader.publish(request, faults)
        if request.publisher and not is_agent(request.publisher):
            faults.add("publisher", NAME_WORDS)
        faults.raise_any()
        publisher = request.publisher or call.identity.name
        acked = await self._orchestrator.publish(namespace, publisher, publish)
        return pb.PublishResponse(message_id=acked.message_id, sequence=acked.sequence, durable=acked.durable)

    async def subscribe(self, stream: Stream) -> None:
        """Deliver messages until the stream ends."""
        await SubscriptionCall(self._orchestrator, stream).run()

    async def list_dead_letters(
        self, request: pb.ListDeadLettersRequest, call: Call
    ) -> pb.ListDeadLettersResponse:
        """A page of dead letters, oldest first."""
        namespace = call.namespace(request.namespace)
        size = read_page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        _check_filter(request.topic, request.subscriber)
        listing = ("dead_letters", namespace, request.topic, request.subscriber)
        after_id = int(self._tokens.read(listing, request.page_token) or "0", 16)
        found = self._orchestrator.dead_letters(
            namespace, size + 1, after_id, request.topic, request.subscriber
        )
        response = pb.ListDeadLettersResponse()
        size_bytes = 0
        for dead_letter_id, letter in found[:size]:
            message = bus_pb2.DeadLetter()
            write_dead_letter(message, dead_letter_id, letter)
            size_bytes += message.ByteSize() + ITEM_BYTES
            if size_bytes > self._page_bytes_max and response.dead_letters:
                break
            response.dead_letters.append(message)
        if len(response.dead_letters) < len(found):
            response.next_page_token = self._tokens.make(listing, response.dead_letters[-1].dead_letter_id)
        return response

    async def drop_dead_letters(
        self, request: pb.DropDeadLettersRequest, call: Call
    ) -> pb.DropDeadLettersResponse:
        """Forget dead letters for good."""
        answered = await self._rule(request, call, is_redelivery=False)
        return pb.DropDeadLettersResponse(dropped_count=answered.count)

    async def redeliver_dead_letters(
        self, request: pb.RedeliverDeadLettersRequest, call: Call
    ) -> pb.RedeliverDeadLettersResponse:
        """Give dead letters to their subscribers again."""
        answered = await self._rule(request, call, is_redelivery=True)
        return pb.RedeliverDeadLettersResponse(redelivered_count=answered.count, kept_count=answered.kept)

    async def _rule(
        self,
        request: pb.DropDeadLettersRequest | pb.RedeliverDeadLettersRequest,
        call: Call,
        *,
        is_redelivery: bool,
    ) -> DeadLettersAnswered:
        namespace = call.namespace(request.namespace)
        faults = Faults()
        ids = request.dead_letter_ids
        if len(ids) > IDS_MAX:
            faults.add("dead_letter_ids", f"has {len(ids):,} entries; the limit is {IDS_MAX:,}")
            faults.raise_any()
        if not ids and not request.topic:
            faults.add("topic", "must be set where no dead_letter_ids are: all of a topic, or these")
        numbers = [read_dead_letter_id(text, f"dead_letter_ids[{n}]", faults) for n, text in enumerate(ids)]
        faults.raise_any()
        _check_filter(request.topic, request.subscriber)
        return await self._orchestrator.rule_dead_letters(
            namespace, numbers, request.topic, request.subscriber, is_redelivery=is_redelivery
        )


def _check_filter(topic: str, subscriber: str) -> None:
    faults = Faults()
    if topic:
        check_topic(topic, "topic", faults)
    if subscriber and not is_agent(subscriber):
        faults.add("subscriber", NAME_WORDS)
    faults.raise_any()
