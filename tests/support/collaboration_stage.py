"""A server with agents that can do a little of everything, for collaborations end to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from upbeat import Abstain, Agent, Client, Context, Fail, Skill, testing

TIMEOUT_S = 30.0


@dataclass
class Doc:
    text: str


@dataclass
class Label:
    label: str
    score: float = 1.0


ADD = Skill("add", int, int)
SHOUT = Skill("shout", str, str)
CLASSIFY = Skill("classify", Doc, Label)
BREAK: Skill[Any, str] = Skill("break", Any, str)
LOOK: Skill[Any, dict[str, Any]] = Skill("look", Any, dict)
WAIT: Skill[Any, str] = Skill("wait", Any, str)


class Stage:
    """A server with a client, and agents that the test adds."""

    def __init__(self, server: testing.Server, up: Client, stack: AsyncExitStack) -> None:
        self.server = server
        self.up = up
        self.may_pass = asyncio.Event()
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.stopped: asyncio.Queue[str] = asyncio.Queue()
        self.stack = stack

    async def agent(self, name: str, vote: Callable[[Doc], Label] | None = None, *, slots: int = 8) -> Agent:
        """An agent with a handler for every skill; it votes as told."""
        agent = Agent(name, agent_id=name, slots=slots, labels={"trust": "3" if name == "chief" else "1"})

        @agent.on(ADD)
        async def add(number: int) -> int:
            return number + 1

        @agent.on(SHOUT)
        def shout(text: str) -> str:
            return text.upper()

        @agent.on(BREAK)
        async def fail(_: Any) -> str:
            raise Fail("BROKEN", "on purpose", retryable=False)

        @agent.on(LOOK)
        async def look(value: Any, ctx: Context) -> dict[str, Any]:
            return {"input": value, "parent": ctx.parent_task_id, **ctx.context}

        @agent.on(WAIT)
        async def wait(value: Any) -> str:
            self.started.put_nowait(name)
            try:
                await self.may_pass.wait()
            except asyncio.CancelledError:
                self.stopped.put_nowait(name)
                raise
            return f"{name} waited"

        if vote is not None:

            @agent.on(CLASSIFY)
            async def classify(doc: Doc) -> Label:
                return vote(doc)

        await agent.start(self.server.address)
        self.stack.push_async_callback(agent.stop, now=True)
        return agent

    async def voters(self, *labels: str) -> None:
        """An agent for each label, which it votes for; an empty one abstains."""
        for number, label in enumerate(labels):
            await self.agent(f"voter-{number}", voting(label))


def voting(label: str) -> Callable[[Doc], Label]:
    def vote(_: Doc) -> Label:
        if not label:
            raise Abstain("no opinion")
        if label == "broken":
            raise Fail("BROKEN", retryable=False)
        return Label(label)

    return vote


def scoring(score: float) -> Callable[[Doc], Label]:
    return lambda _: Label("x", score)


@asynccontextmanager
async def collaboration_stage() -> AsyncIterator[Stage]:
    """A stage without agents."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(testing.server())
        up = await stack.enter_async_context(Client(server.address))
        async with asyncio.timeout(2 * TIMEOUT_S):
            yield Stage(server, up, stack)
