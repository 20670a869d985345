"""SDK agents in a process of their own, whose children of one collaboration talk to each other.

``python -m tests.support.talking_agents ADDRESS FACT_FILE PROCESS SLOTS AGENT_ID...`` serves ``talk`` and
``listen``. The input is how many members there are and how many messages each says. What a member says,
and to whom, is known beforehand (``sayings``), so a member knows when it has heard everything.

Members first say who they are, because a message for one is addressed to the id of its task.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import Any

from tests.support.facts import FactFile, Heard
from tests.support.recorded_agents import serve
from upbeat import Agent, Context

TO_ALL_EVERY = 20
"""One message in so many is for everybody, the others are for one."""


def sayings(member: int, members: int, messages: int) -> list[int | None]:
    """To whom each message of a member is, in order; None for all."""
    chance = Random(f"talk of {member}")
    others = [other for other in range(members) if other != member]
    return [None if number % TO_ALL_EVERY == 0 else chance.choice(others) for number in range(messages)]


def meant_for(member: int, members: int, messages: int) -> dict[int, list[int]]:
    """The numbers of the messages that a member has to hear, in order, by who says them."""
    return {
        publisher: [
            number for number, to in enumerate(sayings(publisher, members, messages)) if to in (None, member)
        ]
        for publisher in range(members)
        if publisher != member
    }


def member_of(ctx: Context) -> int:
    """Which of the steps it is."""
    return int(ctx.idempotency_key.rpartition("/")[2])


async def talk(size: dict[str, int], ctx: Context, file: FactFile) -> dict[str, list[int]]:
    """Say everything and hear everything; answers what was heard, by who said it."""
    me, members = member_of(ctx), size["members"]
    ids: dict[int, str] = {}
    met = asyncio.Event()

    async def say() -> None:
        await ctx.group.publish({"member": me}, message_id="hello")
        await met.wait()
        for number, to in enumerate(sayings(me, members, size["messages"])):
            said = {"member": me, "number": number}
            addressee = None if to is None else ids[to]
            published = await ctx.group.publish(said, to=addressee, message_id=f"{number}")
            if not published.durable:
                raise RuntimeError(f"message {number} of {me} was not kept")

    heard: dict[int, list[int]] = {other: [] for other in range(members) if other != me}
    left = members - 1 + sum(map(len, meant_for(me, members, size["messages"]).values()))
    saying = asyncio.create_task(say())
    async for message in ctx.group.messages():
        said = message.value
        if "number" in said:
            heard[said["member"]].append(said["number"])
            file.note(
                Heard(by=me, publisher=said["member"], number=said["number"], is_again=message.redelivered)
            )
        else:
            ids[said["member"]] = message.publisher
            if len(ids) == members - 1:
                met.set()
        left -= 1
        if not left:
            await message.ack()
            break
    await saying
    return {str(publisher): numbers for publisher, numbers in heard.items()}


async def listen(_: Any, ctx: Context) -> None:
    """The first says one thing, the second hears it and never goes on to the next."""
    if member_of(ctx) == 0:
        await ctx.group.publish("a thing", message_id="thing", headers={"kind": "test"})
        return
    async for _message in ctx.group.messages():
        await asyncio.Event().wait()


def make(agent_id: str, file: FactFile) -> Agent:
    """An agent for one member at a time."""
    agent = Agent("member", agent_id=agent_id, slots=1)

    @agent.on("talk")
    async def talk_noting(size: dict[str, int], ctx: Context) -> dict[str, list[int]]:
        return await talk(size, ctx, file)

    agent.on("listen")(listen)
    return agent


async def main(address: str, file: str, _process: str, _slots: str, *agent_ids: str) -> None:
    """Serve until standard input ends; then the process is gone without a goodbye."""
    facts = FactFile(Path(file))
    await serve([make(agent_id, facts) for agent_id in agent_ids], address)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
