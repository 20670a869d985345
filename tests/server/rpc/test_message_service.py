"""The message bus over a real port: MessageService, and the same topics over Connect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.runtime import PATIENCE_S, until
from tests.support.served import Served, WireAgent, end_of, served, told_by
from tests.support.troubled_store import TroubledStore
from upbeat.v1 import message_service_pb2
from upbeat_server.engine.commands import PersistNote
from upbeat_server.engine.limits import BusBounds, Delivery, Limits
from upbeat_server.runtime.bounds import RuntimeBounds, StreamBounds
from upbeat_server.store.sqlite import SqliteStore

pb: Any = message_service_pb2


class Reader:
    """A stream of subscriptions, frame by frame."""

    def __init__(self, server: Served) -> None:
        self.stream = server.messages.Subscribe(timeout=PATIENCE_S)
        self.acks: list[Any] = []
        self.deliveries: list[Any] = []

    async def say(self, **fields: Any) -> None:
        """Send a frame."""
        await self.stream.write(pb.SubscribeRequest(**fields))

    async def subscribe(self, topic: str = "news", subscriber: str = "alice") -> Reader:
        """Subscribe, and wait until it is in effect."""
        await self.say(subscribes=[{"topic": topic, "subscriber": subscriber}])
        while not self.acks:
            await self.hear()
        return self

    async def hear(self) -> None:
        """Take the next frame."""
        frame = await self.stream.read()
        assert frame is not grpc.aio.EOF
        self.acks += frame.subscribe_acks
        self.deliveries += frame.deliveries

    async def delivery(self) -> Any:
        """The next message."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.deliveries:
                await self.hear()
        return self.deliveries.pop(0)


async def publish(server: Served, message_id: str = "m1", topic: str = "news", **fields: Any) -> Any:
    request = pb.PublishRequest(topic=topic, message_id=message_id, **fields)
    return await server.messages.Publish(request, timeout=PATIENCE_S)


async def test_a_published_message_reaches_its_subscriber_with_everything_that_was_said() -> None:
    async with served() as server:
        alice = await Reader(server).subscribe()
        fields: dict[str, Any] = {
            "payload": {"json": {"struct_value": {"n": 1}}},
            "headers": {"kind": "greeting"},
            "publisher": "bob",
        }
        acked = await publish(server, **fields)
        assert (acked.message_id, acked.sequence, acked.durable) == ("m1", 1, True)
        delivery = await alice.delivery()
        assert (delivery.topic, delivery.message_id, delivery.sequence) == ("news", "m1", 1)
        assert (delivery.payload.content_type, delivery.payload.data) == ("application/json", b'{"n":1}')
        assert (delivery.publisher, delivery.subscriber, dict(delivery.headers)) == (
            "bob",
            "alice",
            {"kind": "greeting"},
        )
        assert (delivery.redelivered, delivery.delivery_attempt) == (False, 1)
        assert delivery.publish_time.ToMilliseconds() > 0
        assert (await publish(server, publisher="bob")).sequence == 1


async def test_a_message_without_an_id_gets_one_and_without_readers_goes_nowhere() -> None:
    async with served() as server:
        acked = await publish(server, "")
        assert (len(acked.message_id), acked.sequence, acked.durable) == (16, 0, False)


async def test_unacknowledged_messages_survive_the_stream_and_the_server(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with served(SqliteStore(path)) as server:
        alice = await Reader(server).subscribe()
        for message_id in ("m1", "m2", "m3"):
            await publish(server, message_id)
        deliveries = [await alice.delivery() for _ in range(3)]
        await alice.say(delivery_acks=[{"delivery_id": deliveries[1].delivery_id}])
        bus = server.orchestrator._catalog.all()[0].engine.bus
        await until(lambda: not bus.topics["news"].kept.get(2))
        alice.stream.cancel()
    async with served(SqliteStore(path)) as server:
        alice = await Reader(server).subscribe()
        again = [await alice.delivery() for _ in range(2)]
        assert [delivery.message_id for delivery in again] == ["m1", "m3"]
        assert [delivery.delivery_id for delivery in again] == [
            deliveries[0].delivery_id,
            deliveries[2].delivery_id,
        ]
        assert all(delivery.redelivered for delivery in again)
        assert (await publish(server, "m2")).sequence == 2
        assert (await publish(server, "m4")).sequence == 4


async def test_a_newer_stream_takes_over_and_the_older_goes_on_without_the_name() -> None:
    async with served() as server:
        older = await Reader(server).subscribe()
        await older.say(subscribes=[{"topic": "sport", "subscriber": "alice"}])
        newer = await Reader(server).subscribe()
        while len(older.acks) < 3:
            await older.hear()
        assert [(ack.topic, ack.refusal.reason) for ack in older.acks] == [
            ("news", ""),
            ("sport", ""),
            ("news", "FENCED"),
        ]
        await publish(server)
        await publish(server, topic="sport")
        assert (await newer.delivery()).topic == "news"
        assert (await older.delivery()).topic == "sport"


async def test_agents_and_others_share_topics() -> None:
    async with served() as server:
        alice = await Reader(server).subscribe()
        agent = await WireAgent(server).connect()
        await agent.say(subscribes=[{"topic": "news"}])
        (ack,) = (await agent.hear()).subscribe_acks
        assert (ack.topic, ack.subscriber, ack.HasField("refusal")) == ("news", "worker", False)
        await agent.say(publishes=[{"topic": "news", "message_id": "a1", "payload": {"data": b"hi"}}])
        (acked,) = (await agent.hear()).publish_acks
        assert (acked.topic, acked.message_id, acked.sequence, acked.durable) == ("news", "a1", 1, True)
        heard = await alice.delivery()
        assert (heard.publisher, heard.payload.data) == ("worker", b"hi")
        await publish(server, "m2", to="worker")
        (delivery,) = (await agent.hear()).deliveries
        assert (delivery.message_id, delivery.subscriber) == ("m2", "worker")
        await agent.say(delivery_acks=[{"delivery_id": delivery.delivery_id}])
        counters = server.orchestrator._catalog.all()[0].engine.counters
        await until(lambda: counters.acked == 1)


async def test_a_full_topic_is_refused_with_its_bound_and_when_to_try_again() -> None:
    async with served(limits=Limits(bus=BusBounds(topic_messages_max=1))) as server:
        agent = await WireAgent(server).connect()
        await Reader(server).subscribe()
        await publish(server)
        told = await told_by(publish(server, "m2"))
        assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOPIC_FULL")
        assert told.metadata["bound"] == "topic_messages_max"
        assert told.has_retry
        await agent.say(publishes=[{"topic": "news", "message_id": "a1"}])
        (acked,) = (await agent.hear()).publish_acks
        assert acked.refusal.reason == "TOPIC_FULL"
        assert acked.refusal.retry_delay.ToMilliseconds() > 0


async def test_dead_letters_are_listed_page_by_page_sent_again_and_dropped() -> None:
    limits = Limits(delivery=Delivery(redelivery_ms=1_000, attempts_max=1))
    async with served(limits=limits) as server:
        alice = await Reader(server).subscribe()
        for number in range(3):
            await publish(server, f"m{number}", payload={"data": b"x" * number})
            await alice.delivery()
        server.clock.move(1_100)
        server.orchestrator.wake()
        letters: list[Any] = []

        async def listed(token: str = "") -> Any:
            request = pb.ListDeadLettersRequest(topic="news", page_size=2, page_token=token)
            return await server.messages.ListDeadLetters(request)

        bus = server.orchestrator._catalog.all()[0].engine.bus
        await until(lambda: len(bus.dead_letters.letters) == 3)
        page = await listed()
        letters += page.dead_letters
        letters += (await listed(page.next_page_token)).dead_letters
        assert [letter.message_id for letter in letters] == ["m0", "m1", "m2"]
        assert {(letter.subscriber, letter.reason, letter.delivery_attempts) for letter in letters} == {
            ("alice", "ATTEMPTS_EXHAUSTED", 1)
        }
        ids = [letters[0].dead_letter_id]
        again = await server.messages.RedeliverDeadLetters(
            pb.RedeliverDeadLettersRequest(dead_letter_ids=ids)
        )
        assert (again.redelivered_count, again.kept_count) == (1, 0)
        assert (await alice.delivery()).message_id == "m0"
        dropped = await server.messages.DropDeadLetters(pb.DropDeadLettersRequest(topic="news"))
        assert dropped.dropped_count == 2
        assert not (await listed()).dead_letters


async def test_streams_of_subscriptions_are_bounded_and_counted() -> None:
    bounds = RuntimeBounds(streams=StreamBounds(subscription_streams_max=1))
    async with served(bounds=bounds) as server:
        alice = await Reader(server).subscribe()
        assert server.orchestrator.open_streams["subscriptions"] == 1
        second = Reader(server)
        await second.say()
        told = await end_of(second.stream)
        assert (told.reason, told.metadata["bound"]) == ("STREAMS_EXHAUSTED", "subscription_streams_max")
        await alice.stream.done_writing()
        while await alice.stream.read() is not grpc.aio.EOF:
            pass
        await until(lambda: server.orchestrator.open_streams["subscriptions"] == 0)


async def test_nothing_leaves_before_the_commit_that_holds_it() -> None:
    store = TroubledStore()
    async with served(store) as server:
        alice = await Reader(server).subscribe()
        store.hold()
        asked = asyncio.create_task(publish(server))
        await store.tried.wait()
        heard = asyncio.create_task(alice.hear())
        done, _ = await asyncio.wait((asked, heard), timeout=0)
        assert not done
        store.release()
        assert (await asked).durable
        await heard
        assert [delivery.message_id for delivery in alice.deliveries] == ["m1"]


@pytest.mark.parametrize("value", [b"kept", None])
async def test_a_turn_that_changed_nothing_but_a_note_is_committed(value: bytes | None) -> None:
    async with served() as server:
        await server.submit()
        namespace = server.orchestrator._catalog.all()[0]
        namespace.commands += [PersistNote("colour", "sky", b"old"), PersistNote("colour", "sky", value)]
        await publish(server)
        adoption = await server.orchestrator._store.adopt("default")
        assert adoption.notes == ([("colour", "sky", value)] if value is not None else [])
