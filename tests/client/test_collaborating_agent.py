"""What handlers of a collaboration's children are given, and how they bow out."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.agent_stream import assignment, result, started
from tests.support.fake_server import TIMEOUT_S, FakeServer, fake_server
from upbeat import Abstain, Agent, CodecError, Context, codec
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import payload_pb2


@dataclass
class Doc:
    text: str


class Heard(logging.Handler):
    """Warnings of the agent, as they come."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.came.set()


@pytest.fixture
def heard() -> Any:
    handler = Heard()
    log = logging.getLogger("upbeat.agent")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    agent = Agent("w", slots=4)

    @agent.on("abstain")
    def abstain(_: Any) -> None:
        raise Abstain("not my field")

    yield agent
    await agent.stop(now=True)


def entry(name: str, value: Any) -> Any:
    return wire.Assignment().context.add(name=name, payload=codec.encode(value))


async def test_the_context_of_a_step_is_decoded_by_name(server: FakeServer, agent: Agent) -> None:
    seen: list[Context] = []

    @agent.on("look")
    def look(_: Any, ctx: Context) -> None:
        seen.append(ctx)

    stream = await started(server, agent)
    context = [entry("original", {"text": "x"}), entry("previous", 2**70), entry("ballots", ["a", "b"])]
    await stream.say(assignment("look", context=context, parent_task_id="p1"))
    await result(stream)
    (ctx,) = seen
    assert ctx.parent_task_id == "p1"
    assert ctx.original == {"text": "x"}
    assert ctx.previous == 2**70
    assert dict(ctx.context) == {"original": {"text": "x"}, "previous": 2**70, "ballots": ["a", "b"]}
    assert ctx.context.typed("original", Doc) == Doc("x")
    with pytest.raises(CodecError, match="str"):
        ctx.context.typed("ballots", str)
    assert repr(ctx.context) == "Given(original, previous, ballots)"


async def test_a_task_of_its_own_has_no_context(server: FakeServer, agent: Agent) -> None:
    seen: list[Context] = []

    @agent.on("look")
    def look(_: Any, ctx: Context) -> None:
        seen.append(ctx)

    stream = await started(server, agent)
    await stream.say(assignment("look"))
    await result(stream)
    (ctx,) = seen
    assert (ctx.parent_task_id, ctx.original, ctx.previous, len(ctx.context)) == ("", None, None, 0)
    with pytest.raises(KeyError):
        ctx.context["ballots"]


async def test_an_abstention_is_told_as_one_and_not_tried_again(
    server: FakeServer, agent: Agent, heard: Heard
) -> None:
    stream = await started(server, agent)
    await stream.say(assignment("abstain"))
    error = (await result(stream)).error
    assert (error.reason, error.message, error.non_retryable) == ("ABSTAINED", "not my field", True)
    assert heard.messages == []


async def test_a_handler_that_outstays_its_grace_is_named(
    server: FakeServer, agent: Agent, heard: Heard
) -> None:
    may_end = threading.Event()

    @agent.on("stubborn")
    def stubborn(_: Any) -> str:
        assert may_end.wait(TIMEOUT_S)
        return "done all the same"

    stream = await started(server, agent)
    await stream.say(assignment("stubborn"))
    await stream.hear_until(lambda frame: frame.attempt_acks)
    await stream.say(wire.ConnectResponse(cancels=[cancel("l1", grace_ms=10)]))
    assert await asyncio.to_thread(heard.came.wait, TIMEOUT_S)
    (message,) = heard.messages
    assert "task t1" in message
    assert "stubborn" in message
    assert "grace of 0.01 s" in message
    may_end.set()
    assert (await result(stream)).output.data == b"done all the same"


async def test_a_handler_that_winds_up_within_its_grace_is_not_told_of(
    server: FakeServer, agent: Agent, heard: Heard
) -> None:
    @agent.on("wait")
    async def wait(_: Any) -> None:
        await asyncio.Event().wait()

    stream = await started(server, agent)
    await stream.say(assignment("wait"))
    await stream.hear_until(lambda frame: frame.attempt_acks)
    await stream.say(wire.ConnectResponse(cancels=[cancel("l1", grace_ms=20_000)]))
    assert (await result(stream)).error.reason == "SUPERSEDED"
    assert heard.messages == []


def cancel(lease_id: str, grace_ms: int) -> wire.AttemptCancel:
    item = wire.AttemptCancel(lease_id=lease_id, reason="SUPERSEDED")
    item.grace.FromMilliseconds(grace_ms)
    return item


async def test_a_value_in_the_context_that_is_not_what_it_claims_fails_where_it_is_asked_for(
    server: FakeServer, agent: Agent, heard: Heard
) -> None:
    @agent.on("look")
    def look(_: Any, ctx: Context) -> Any:
        return ctx.previous

    stream = await started(server, agent)
    broken = entry("previous", 0)
    broken.payload.CopyFrom(payload_pb2.Payload(content_type="application/json", data=b"{"))
    await stream.say(assignment("look", context=[broken]))
    error = (await result(stream)).error
    assert (error.reason, "not valid JSON" in error.message) == ("HANDLER_FAILED", True)
