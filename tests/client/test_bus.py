"""The bus as users see it: topics over a client, siblings over their contexts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.children import engine_of, make_children
from tests.support.runtime import until
from upbeat import Agent, Client, CodecError, Context, Message, SyncClient, testing
from upbeat.errors import Aborted, ClientClosed, FailedPrecondition, InvalidField, SubscriberNotFound
from upbeat.io_thread import io_thread

PATIENCE_S = 20


@dataclass
class Note:
    text: str


@pytest.fixture
async def server() -> AsyncIterator[testing.Server]:
    async with testing.server() as server:
        yield server


@pytest.fixture
async def up(server: testing.Server) -> AsyncIterator[Client]:
    async with Client(server.address) as up, asyncio.timeout(PATIENCE_S):
        yield up


async def cut(subscription: Any) -> None:
    """The stream of a subscription breaks."""

    async def hang_up() -> None:
        subscription._reader._duplex.hang_up()

    await io_thread().call(hang_up())


async def test_what_is_published_is_heard_with_its_value_and_where_it_came_from(up: Client) -> None:
    async with up.subscribe("news", name="alice") as news:
        for value in ({"n": 1}, "text", b"bytes", None, Note("hello")):
            published = await up.publish("news", value, publisher="bob", headers={"k": "v"})
            assert published.durable
            message = await anext(news)
            assert message.as_(Note) == value if isinstance(value, Note) else message.value == value
            assert (message.topic, message.publisher, message.headers) == ("news", "bob", {"k": "v"})
            assert (message.message_id, message.sequence) == (published.message_id, published.sequence)
            assert (message.redelivered, message.attempt) == (False, 1)
        with pytest.raises(CodecError):
            (await anext_after(up, news, "no note")).as_(Note)


async def anext_after(up: Client, news: Any, value: Any) -> Message:
    await up.publish("news", value)
    message: Message = await anext(news)
    return message


async def test_going_on_acknowledges_and_a_name_goes_on_where_it_was(
    server: testing.Server, up: Client
) -> None:
    async with up.subscribe("news", name="alice") as news:
        for n in range(3):
            await up.publish("news", n)
        assert [(await anext(news)).value for _ in range(2)] == [0, 1]
    await up.publish("news", 3)
    async with up.subscribe("news", name="alice") as news:
        messages = [await anext(news) for _ in range(3)]
        assert [message.value for message in messages] == [1, 2, 3]
        assert [message.redelivered for message in messages] == [True, True, False]
        await messages[-1].ack()
        await messages[-1].ack()
    await until(lambda: engine_of(server).counters.acked == 4)


async def test_a_broken_stream_is_opened_again_and_nothing_is_handed_out_twice(up: Client) -> None:
    async with up.subscribe("news", name="alice") as news:
        for n in range(4):
            await up.publish("news", n)
        heard = [(await anext(news)).value]
        await cut(news)
        await up.publish("news", 4)
        heard += [(await anext(news)).value for _ in range(4)]
        assert heard == [0, 1, 2, 3, 4]


async def test_a_message_may_be_said_again_and_is_heard_once(up: Client) -> None:
    async with up.subscribe("news", name="alice") as news:
        first = await up.publish("news", "once", message_id="m1", publisher="bob")
        assert await up.publish("news", "once", message_id="m1", publisher="bob") == first
        await up.publish("news", "next", publisher="bob")
        assert [(await anext(news)).value for _ in range(2)] == ["once", "next"]


async def test_without_a_name_one_hears_what_is_said_while_listening(up: Client) -> None:
    assert not (await up.publish("news", "unheard")).sequence
    async with up.subscribe("news") as news:
        assert not (await up.publish("news", "heard")).durable
        assert (await anext(news)).value == "heard"


async def test_a_loop_that_is_left_by_break_ends_its_subscription(up: Client) -> None:
    listening = up.subscribe("news")
    await listening.begin()
    await up.publish("news", "hello")
    async for message in listening:
        assert message.value == "hello"
        break
    assert (await up.publish("news", "while it is held")).sequence == 2
    del listening
    await until(lambda: not up._core.readers)
    while (await up.publish("news", "is anybody there?")).sequence:
        pass  # Not a moment longer than its stream; `up` bounds the test.


async def test_whoever_loses_a_name_is_told(up: Client) -> None:
    async with up.subscribe("news", name="alice") as older, up.subscribe("news", name="alice") as newer:
        with pytest.raises(Aborted, match="a newer stream took"):
            await anext(older)
        await up.publish("news", 1, to="alice")
        assert (await anext(newer)).value == 1


async def test_programs_without_a_loop_publish_and_listen(server: testing.Server) -> None:
    def converse() -> list[Any]:
        with SyncClient(server.address) as up:
            assert list(up.subscribe("news", name="alice", timeout=0)) == []
            for n in range(3):
                assert up.publish("news", n).durable
            heard: list[Any] = []
            for message in up.subscribe("news", name="alice", timeout=PATIENCE_S):
                heard.append(message.value)
                if len(heard) == 3:
                    message.ack_sync()
                    break
            return [*heard, *up.subscribe("news", name="alice", timeout=0)]

    assert await asyncio.to_thread(converse) == [0, 1, 2]


async def test_what_is_wrong_is_raised(up: Client) -> None:
    with pytest.raises(InvalidField, match="topic"):
        await up.publish("a b", 1)
    with pytest.raises(SubscriberNotFound):
        await up.publish("news", 1, to="nobody")
    with pytest.raises(InvalidField, match="topic"):
        await anext(up.subscribe("a b", name="alice"))
    with pytest.raises(FailedPrecondition, match="children"):
        await anext(up.subscribe("group/00000000000000fa"))


async def test_closing_the_client_ends_its_subscriptions(server: testing.Server) -> None:
    async with Client(server.address) as other:
        news = await other.subscribe("news", name="alice").__aenter__()
    with pytest.raises(ClientClosed):
        await anext(news)


async def test_a_full_topic_is_waited_for(server: testing.Server, up: Client) -> None:
    async with up.subscribe("news", name="alice") as news:
        for n in range(1_000):
            await up.publish("news", n)
        more = asyncio.create_task(up.publish("news", 1_000))
        for _ in range(1_001):
            await (await anext(news)).ack()
        assert (await more).durable


async def test_siblings_talk_to_all_and_to_one_from_async_handlers_and_threads(
    server: testing.Server, up: Client
) -> None:
    heard: dict[str, list[Any]] = {}
    agent, threads = Agent("loop", slots=2), Agent("threads", slots=1)

    async def converse(name: str, ctx: Context) -> str:
        await ctx.group.publish(f"{name} is here")
        heard[name] = []
        async for message in ctx.group.messages():
            heard[name].append(message.value)
            if message.value == "end":
                await message.ack()
                break
        return name

    @threads.on("talk.sync")
    def lead(name: str, ctx: Context) -> str:
        heard[name] = []
        for message in ctx.group.messages_sync(PATIENCE_S):
            heard[name].append(message.value)
            ctx.group.publish_sync(f"hello {message.value[0]}", to=message.publisher)
            if len(heard[name]) == 2:
                message.ack_sync()
                break
        assert ctx.group.publish_sync("end").durable
        return name

    agent.on("talk")(converse)
    pair = await make_children(server, up, "talk", ["a", "b"])
    (leader,) = await make_children(server, up, "talk.sync", ["c"])
    await agent.start(server.address)
    await threads.start(server.address)
    assert [await handle.result() for handle in (*pair, leader)] == ["a", "b", "c"]
    assert sorted(heard["c"]) == ["a is here", "b is here"]
    assert [text for text in heard["a"] if text != "b is here"] == ["hello a", "end"]
    assert [text for text in heard["b"] if text != "a is here"] == ["hello b", "end"]
    await agent.stop()
    await threads.stop()


async def test_a_task_of_its_own_has_no_siblings(server: testing.Server, up: Client) -> None:
    agent = Agent("alone")

    @agent.on("talk")
    async def talk(_: Any, ctx: Context) -> str:
        with pytest.raises(FailedPrecondition, match="not the child of a collaboration"):
            await ctx.group.publish("hello?")
        return "silence"

    await agent.start(server.address)
    assert await up.run("talk", None) == "silence"
    await agent.stop()
