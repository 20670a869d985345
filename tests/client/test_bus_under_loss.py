"""Messages between twenty members, a third of whom lose their stream again and again.

Nothing that was published is lost, nothing that was acknowledged comes again, whoever
reads hears each message once and each publisher in its order, and nothing is left.
``make talk`` is the long form, with 10,000 messages.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from functools import partial
from random import Random
from typing import Any

from tests.support.children import PARENT, engine_of, make_children
from tests.support.runtime import until
from upbeat import Agent, Client, Context, testing
from upbeat.io_thread import io_thread
from upbeat_server.engine import bus
from upbeat_server.engine.bus.message import group_topic

MEMBERS = 20
MESSAGES = int(os.environ.get("GROUP_MESSAGES", "2000"))
CALLS = 3 * MESSAGES // 10
"""Of them as calls of their own, which take longer."""
TO_ALL_EVERY = 20
"""One in so many is for everybody, the others are for one."""
PATIENCE_S = 240
CUTS = int(os.environ.get("GROUP_CUTS", "20"))


class Talk:
    """Who is to say what to whom, and what was heard."""

    def __init__(self, names: list[str], messages: int) -> None:
        chance = Random(7)
        self.names = names
        self.plan: dict[str, list[tuple[int, str]]] = defaultdict(list)  # Number and `to`, by publisher.
        self.expected: dict[str, int] = defaultdict(int)
        self.heard: dict[str, dict[str, list[int]]] = {name: defaultdict(list) for name in names}
        self.counts: dict[str, int] = defaultdict(int)
        self.messages = messages
        for number in range(messages):
            publisher = names[number % len(names)]
            to = "" if number // len(names) % TO_ALL_EVERY == 0 else chance.choice(names)
            if to == publisher:
                to = names[(number + 1) % len(names)]
            self.plan[publisher].append((number, to))
            for reader in [to] if to else [name for name in names if name != publisher]:
                self.expected[reader] += 1

    def hear(self, reader: str, publisher: str, number: int) -> bool:
        """A member heard a message; True if it was the last one."""
        self.heard[reader][publisher].append(number)
        self.counts[reader] += 1
        return self.counts[reader] == self.expected[reader]

    @property
    def deliveries(self) -> int:
        return sum(self.expected.values())

    def has_heard(self, count: int) -> bool:
        """Whether all together heard so many."""
        return sum(self.counts.values()) >= count

    def check(self) -> None:
        """Everybody heard what was for them, each publisher in its order, once."""
        for reader in self.names:
            for publisher in self.names:
                meant = [number for number, to in self.plan[publisher] if to in ("", reader)]
                assert self.heard[reader][publisher] == (meant if publisher != reader else [])


def check_counts(server: testing.Server, talk: Talk) -> None:
    counters = engine_of(server).counters
    assert counters.published == talk.messages
    assert counters.acked <= talk.deliveries <= counters.delivered
    assert counters.redelivered > 0
    assert counters.dead_lettered == 0


async def test_named_subscribers_of_a_topic() -> None:
    talk = Talk([f"m{number}" for number in range(MEMBERS)], CALLS)
    chance = Random(8)
    async with testing.server() as server, Client(server.address, patience=PATIENCE_S) as up:
        subscriptions = {name: up.subscribe("talk", name=name) for name in talk.names}
        for subscription in subscriptions.values():
            await subscription.begin()

        async def publish(name: str) -> None:
            for number, to in talk.plan[name]:
                assert (await up.publish("talk", number, to=to, publisher=name)).durable

        async def listen(name: str) -> None:
            async for message in subscriptions[name]:
                if talk.hear(name, message.publisher, message.value):
                    await message.ack()
                    return

        async def lose_streams() -> None:
            async def hang_up(name: str) -> None:
                duplex = subscriptions[name]._reader._duplex
                if duplex is not None:
                    duplex.hang_up()

            for cut in range(CUTS):
                # As many as were heard since the last cut: no clock is needed to spread them.
                await until(partial(talk.has_heard, cut * talk.deliveries // CUTS))
                for name in chance.sample(talk.names[: MEMBERS // 3], 2):
                    await io_thread().call(hang_up(name))

        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            for name in talk.names:
                group.create_task(publish(name))
                group.create_task(listen(name))
            group.create_task(lose_streams())
        talk.check()
        await until(lambda: engine_of(server).counters.acked == talk.deliveries)
        check_counts(server, talk)
        topic = engine_of(server).bus.topics["talk"]
        assert (topic.stored, topic.size, topic.kept) == (0, 0, {})
        assert all(not sub.wanted for sub in topic.subscriptions.values())


async def test_siblings_of_a_group_on_four_agents() -> None:
    chance = Random(9)
    async with testing.server() as server, Client(server.address, patience=PATIENCE_S) as up:
        children = await make_children(server, up, "talk", list(range(MEMBERS)))
        talk = Talk([child.task_id for child in children], MESSAGES)
        agents = [Agent(f"a{number}", slots=5) for number in range(4)]

        async def converse(_: int, ctx: Context) -> int:
            async def publish() -> None:
                for number, to in talk.plan[ctx.task_id]:
                    assert (await ctx.group.publish(number, to=to or None)).durable

            saying = asyncio.create_task(publish())
            async for message in ctx.group.messages():
                if talk.hear(ctx.task_id, message.publisher, message.value):
                    await message.ack()
                    break
            await saying
            return talk.counts[ctx.task_id]

        async def lose_streams() -> None:
            async def hang_up(link: Any) -> None:
                if link._duplex is not None:
                    link._duplex.hang_up()

            for cut in range(CUTS // 2):
                await until(partial(talk.has_heard, 2 * cut * talk.deliveries // CUTS))
                agent = chance.choice(agents[:2])
                await io_thread().call(hang_up(agent._link))

        for agent in agents:
            agent.on("talk")(converse)
            await agent.start(server.address)
        async with asyncio.timeout(PATIENCE_S):
            losing = asyncio.create_task(lose_streams())
            results = [await child.result() for child in children]
            await losing
        assert results == [talk.expected[child.task_id] for child in children]
        talk.check()
        check_counts(server, talk)  # What a child acknowledged last may be lost with its stream, as it ends.
        for agent in agents:
            await agent.stop()

        async def close() -> None:
            engine = engine_of(server)
            engine.commands = []
            bus.close_group(engine, PARENT)
            assert group_topic(PARENT) not in engine.bus.topics
            assert engine.bus.shelf.stored == 0

        await io_thread().call(close())
