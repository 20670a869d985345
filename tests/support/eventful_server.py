"""A whole server in this process that has done some of everything, for tests of what it tells of itself."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import upbeat
from upbeat import Agent, AgentFenced, Client, Fail, Skill, TaskFailed, TaskTimedOut
from upbeat.errors import DuplicateTask
from upbeat.io_thread import io_thread
from upbeat_server.app import App
from upbeat_server.config import (
    EngineDelivery,
    EngineSettings,
    Listen,
    ServiceSettings,
    Settings,
    StoreSettings,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ECHO = Skill("echo", str, str)
BREAK: Skill[Any, str] = Skill("break", Any, str)
TIMEOUT_S = 30.0
ALONE: dict[str, Any] = {"dedup_key": "one at a time", "priority": "critical"}


def worker(name: str) -> Agent:
    """An agent that echoes and breaks."""
    agent = Agent(name, agent_id=name, slots=4)

    @agent.on(ECHO)
    async def echo(text: str) -> str:
        return text

    @agent.on(BREAK)
    async def fail(_: Any) -> str:
        raise Fail("BROKEN", "on purpose", retryable=False)

    return agent


async def be_eventful(address: str, stack: AsyncExitStack) -> None:
    """Tasks that end in all ways or wait, collaborations, a message, a refusal, an agent that is fenced."""
    up = await stack.enter_async_context(Client(address))
    fenced = worker("cat")
    await fenced.start(address)
    for name in ("ann", "bob", "cat"):
        agent = worker(name)
        await agent.start(address)
        stack.push_async_callback(agent.stop, now=True)
    with pytest.raises(AgentFenced):
        await fenced.stop(now=True)
    for priority in ("low", "normal", "high"):
        await up.run(ECHO, "hello", priority=priority, timeout=TIMEOUT_S)
    with pytest.raises(TaskFailed):
        await up.run(BREAK, None, timeout=TIMEOUT_S)
    with pytest.raises(TaskTimedOut):
        await up.run("unheard-of", None, timeout=0.05)
    await up.submit("unheard-of", None, **ALONE)
    with pytest.raises(DuplicateTask):
        await up.submit("unheard-of", None, **ALONE)
    await up.race(ECHO, "hello", candidates=2, timeout=TIMEOUT_S)
    await up.consensus(ECHO, "hello", voters=3, timeout=TIMEOUT_S)
    await up.run(upbeat.sequence(ECHO, ECHO), "hello", timeout=TIMEOUT_S)
    async with up.subscribe("news", name="reader") as news:
        await up.publish("news", "hello")
        async for _ in news:
            break


@asynccontextmanager
async def eventful_server(folder: Path) -> AsyncIterator[int]:
    """Answers the HTTP port of the server; it has done all that and still runs."""
    settings = Settings(
        listen=Listen(grpc="127.0.0.1:0", http="127.0.0.1:0"),
        store=StoreSettings(address=f"sqlite:{folder / 'upbeat.db'}"),
        service=ServiceSettings(drain_ms=0),
        engine=EngineSettings(delivery=EngineDelivery(redelivery_ms=50)),
    )
    app = await io_thread().call(started(settings))
    try:
        async with AsyncExitStack() as stack:
            await be_eventful(f"127.0.0.1:{app.grpc_port}", stack)
            yield app.http_port
    finally:
        await asyncio.shield(io_thread().call(app.stop()))


async def started(settings: Settings) -> App:
    """A started server, on the thread that may use gRPC."""
    app = App(settings)
    await app.start()
    return app
