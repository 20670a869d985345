"""An agent's stream on its way from hello to its end."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.runtime import Worker, running, settle, submit, until
from tests.support.troubled_store import TroubledStore
from upbeat_server.engine.limits import Bounds, Limits
from upbeat_server.engine.model import AgentState, TaskState


async def test_an_agent_that_is_gone_before_its_welcome_is_not_taken_for_connected() -> None:
    store = TroubledStore()
    async with running(store) as orchestrator:
        first = await submit(orchestrator)
        store.hold()
        worker = Worker(orchestrator, slots=2)
        connecting = asyncio.create_task(worker.connect())
        await store.tried.wait()  # It is welcome, with a task; nobody has told it yet.
        connecting.cancel()
        worker.session.leave()
        store.release()
        await until(lambda: orchestrator.agent("default", "worker").state == AgentState.SUSPECT)
        second = await submit(orchestrator)
        assert (await orchestrator.get("default", first)).record.state == TaskState.RUNNING
        assert (await orchestrator.get("default", second)).record.state == TaskState.QUEUED
        assert orchestrator.open_streams["agent"] == 0
        assert not orchestrator._catalog.all()[0].routes


@pytest.mark.parametrize("agents_max", [0, 5])
async def test_an_agent_that_is_gone_before_its_hello_is_looked_at_leaves_nothing(agents_max: int) -> None:
    async with running(limits=Limits(bounds=Bounds(agents_max=agents_max))) as orchestrator:
        await submit(orchestrator)
        worker = Worker(orchestrator)
        connecting = asyncio.create_task(worker.connect())
        await until(lambda: orchestrator.inbox_items)
        connecting.cancel()
        worker.session.leave()
        await settle()
        assert not orchestrator._catalog.all()[0].routes
        assert orchestrator.open_streams["agent"] == 0
        states = [agent.state for agent in orchestrator.agents("default", 10)]
        assert states == [AgentState.SUSPECT] * bool(agents_max)
