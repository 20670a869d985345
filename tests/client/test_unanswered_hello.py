"""A hello that was lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.fake_server import fake_server
from upbeat import Agent


async def test_a_hello_that_nobody_answers_is_said_again_on_another_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("upbeat.link.WELCOME_S", 0.1)
    agent = Agent("w")

    @agent.on("double")
    async def double(number: int) -> int:
        return 2 * number

    async with fake_server() as server:
        task = asyncio.create_task(agent.serve(server.address))
        try:
            await server.conversation("Connect")  # It lost the hello, as a broken proxy may.
            await server.conversation("Connect")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
