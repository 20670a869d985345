"""The agent against a server that says what the test wants."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.support.agent_stream import assignment, met, result, started
from tests.support.fake_server import TIMEOUT_S, FakeServer, Refusal, fake_server
from upbeat import (
    Agent,
    AgentFenced,
    Context,
    Fail,
    InvalidField,
    PermissionDenied,
    Skill,
    Unauthenticated,
)
from upbeat.v1 import agent_service_pb2 as wire


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    """An agent with handlers of every kind; the test starts it."""
    agent = Agent("w", slots=4, labels={"region": "eu"}, token="secret", namespace="n1")

    @agent.on(Skill("double", int, int))
    async def double(n: int) -> int:
        return 2 * n

    @agent.on(Skill("where", type(None), str))
    def where(_: None) -> str:
        return threading.current_thread().name

    @agent.on("fail")
    def fail(reason: Any) -> None:
        if reason:
            raise Fail(reason, "because", retryable=False, details={"k": "v"})
        raise ValueError("x" * 10_000)

    yield agent
    await agent.stop(now=True)


async def test_hello_says_who_it_is(server: FakeServer, agent: Agent) -> None:
    stream = await started(server, agent)
    hello = stream.request
    assert hello.agent_id == agent.agent_id != Agent("w").agent_id
    assert hello.agent_id.startswith("w-")
    assert (hello.name, hello.namespace, hello.slots) == ("w", "n1", 4)
    assert sorted(hello.capabilities) == ["double", "fail", "where"]
    assert hello.sdk_version.startswith("upbeat-python/")
    assert stream.metadata["authorization"] == "Bearer secret"


async def test_work_is_acknowledged_done_and_reported(server: FakeServer, agent: Agent) -> None:
    stream = await started(server, agent)
    await stream.say(assignment("double", data=b"21"))
    frame = await stream.hear_until(lambda frame: frame.attempt_acks)
    assert frame.attempt_acks[0].accepted
    if frame.results:
        assert frame.results[0].output.data == b"42"
    else:
        assert (await result(stream)).output.data == b"42"


async def test_sync_handlers_run_in_threads(server: FakeServer, agent: Agent) -> None:
    stream = await started(server, agent)
    await stream.say(assignment("where"))
    assert (await result(stream)).output.data.decode().startswith("upbeat-worker-")


@pytest.mark.parametrize(
    ("task_type", "data", "reason", "says", "non_retryable"),
    [
        ("fail", b'"NOPE"', "NOPE", "because", True),
        ("fail", b"null", "HANDLER_FAILED", "ValueError: xxx", False),
        ("double", b'"text"', "INVALID_INPUT", "str where int", True),
    ],
)
async def test_a_failing_handler_says_why(
    server: FakeServer, agent: Agent, task_type: str, data: bytes, reason: str, says: str, non_retryable: bool
) -> None:
    stream = await started(server, agent)
    await stream.say(assignment(task_type, data=data))
    error = (await result(stream)).error
    assert error.reason == reason
    assert says in error.message
    assert len(error.message.encode()) <= 4_096
    assert error.non_retryable == non_retryable


async def test_a_handler_that_calls_exit_fails_its_own_attempt_only(server: FakeServer, agent: Agent) -> None:
    @agent.on("leave")
    async def leave(_: Any) -> None:
        sys.exit(3)

    stream = await started(server, agent)
    await stream.say(assignment("leave"))
    error = (await result(stream)).error
    assert (error.reason, error.message) == ("HANDLER_FAILED", "SystemExit: 3")
    await stream.say(assignment("double", lease="l2", data=b"21"))
    assert (await result(stream, "l2")).output.data == b"42"


async def test_an_unknown_type_is_given_back(server: FakeServer, agent: Agent) -> None:
    stream = await started(server, agent)
    await stream.say(assignment("other"))
    frame = await stream.hear_until(lambda frame: frame.attempt_acks)
    assert (frame.attempt_acks[0].accepted, frame.attempt_acks[0].reason) == (False, "NO_HANDLER")


async def test_the_context_tells_of_the_attempt_and_carries_what_is_said(
    server: FakeServer, agent: Agent
) -> None:
    seen: list[Any] = []

    @agent.on("talk")
    async def talk(_: Any, ctx: Context) -> None:
        seen.extend([ctx.task_id, ctx.attempt, ctx.labels, ctx.traceparent, ctx.idempotency_key])
        assert ctx.last_progress is not None
        seen.append(ctx.last_progress.message)
        assert ctx.time_remaining is not None
        assert 0 < ctx.time_remaining <= 100
        await ctx.progress(0.5, "half")
        await ctx.emit("ab")
        await ctx.emit(b"c")
        ctx.report_usage(input_tokens=1)
        ctx.report_usage(input_tokens=2, cost_micros=7)

    stream = await started(server, agent)
    work = assignment(
        "talk",
        labels={"k": "v"},
        traceparent="tp",
        idempotency_key="ik",
        last_progress=wire.AttemptProgress(message="before"),
    )
    work.assignments[0].time_remaining.FromSeconds(100)
    await stream.say(work)
    said: list[Any] = []
    frame = None
    while frame is None or not frame.results:
        frame = await stream.hear()
        said += frame.progress
    assert [(item.sequence, item.chunk) for item in said if item.sequence] == [(1, b"ab"), (2, b"c")]
    assert {(item.fraction, item.message) for item in said} == {(0.5, "half")}
    assert seen == ["t1", 1, {"k": "v"}, "tp", "ik", "before"]
    assert frame.results[0].usage.input_tokens == 3
    assert frame.results[0].usage.cost_micros == 7


async def test_pieces_of_output_arrive_in_order_and_all(server: FakeServer, agent: Agent) -> None:
    @agent.on("stream")
    async def stream_async(_: Any, ctx: Context) -> None:
        for number in range(500):
            await ctx.emit(str(number))

    @agent.on("stream_sync")
    def stream_sync(_: Any, ctx: Context) -> None:
        for number in range(500):
            ctx.emit_sync(str(number))
        ctx.progress_sync(1.0, "all")

    stream = await started(server, agent)
    for task_type in ("stream", "stream_sync"):
        await stream.say(assignment(task_type, lease=task_type))
        pieces: list[Any] = []
        frame = None
        while frame is None or not frame.results:
            frame = await stream.hear()
            pieces += [(item.sequence, item.chunk.decode()) for item in frame.progress if item.sequence]
        assert pieces == [(number + 1, str(number)) for number in range(500)]


async def test_a_cancel_reaches_an_async_handler_at_once(server: FakeServer, agent: Agent) -> None:
    @agent.on("wait")
    async def wait(_: Any) -> None:
        await asyncio.Event().wait()

    stream = await started(server, agent)
    await stream.say(assignment("wait"))
    await stream.hear_until(lambda frame: frame.attempt_acks)
    await stream.say(wire.ConnectResponse(cancels=[wire.AttemptCancel(lease_id="l1", reason="CANCELLED")]))
    assert (await result(stream)).error.reason == "CANCELLED"


async def test_a_cancel_reaches_a_sync_handler_that_looks(server: FakeServer, agent: Agent) -> None:
    @agent.on("wait")
    def wait(_: Any, ctx: Context) -> None:
        assert ctx.cancelled.wait(TIMEOUT_S)
        ctx.raise_if_cancelled()

    stream = await started(server, agent)
    await stream.say(assignment("wait"))
    await stream.say(
        wire.ConnectResponse(cancels=[wire.AttemptCancel(lease_id="l1", reason="TOTAL_TIMEOUT")])
    )
    assert (await result(stream)).error.reason == "TOTAL_TIMEOUT"


async def test_the_time_limit_is_kept_without_the_server(server: FakeServer, agent: Agent) -> None:
    @agent.on("wait")
    async def wait(_: Any) -> None:
        await asyncio.Event().wait()

    stream = await started(server, agent)
    work = assignment("wait")
    work.assignments[0].time_remaining.FromMilliseconds(20)
    await stream.say(work)
    assert (await result(stream)).error.reason == "ATTEMPT_TIMEOUT"


async def test_a_blocked_handler_stops_neither_acks_nor_heartbeats(server: FakeServer, agent: Agent) -> None:
    is_blocked, release = threading.Event(), threading.Event()

    @agent.on("block")
    async def block(_: Any) -> None:
        is_blocked.set()
        release.wait(TIMEOUT_S)

    # The handlers' loop is another thread's here, so that this test can look on.
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(agent.serve(server.address),))
    thread.start()
    try:
        stream = await server.conversation("Connect")
        await stream.hear()
        welcome = wire.ConnectResponse(welcome=wire.Welcome(session_id="s-1"))
        welcome.welcome.heartbeat_interval.FromMilliseconds(20)
        await stream.say(welcome)
        await stream.say(assignment("block"))
        assert await asyncio.to_thread(is_blocked.wait, TIMEOUT_S)
        for _ in range(3):
            await stream.hear_until(lambda frame: frame.HasField("heartbeat"))
        await stream.say(assignment("where", lease="l2"))
        assert (await result(stream, "l2")).HasField("output")
    finally:
        release.set()
        agent.drain()
        await result(stream)
        await stream.hear_until(lambda frame: frame.HasField("goodbye"))
        await stream.end()
        await asyncio.to_thread(thread.join)
        loop.close()


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING"),
        Refusal(grpc.StatusCode.INTERNAL, ""),
        Refusal(grpc.StatusCode.UNKNOWN, ""),
        Refusal(grpc.StatusCode.CANCELLED, ""),
        Refusal(grpc.StatusCode.ABORTED, "SILENT"),
        None,
    ],
)
async def test_a_broken_stream_is_resumed_and_results_are_sent_again(
    server: FakeServer, agent: Agent, refusal: Refusal | None
) -> None:
    may_end = asyncio.Event()

    @agent.on("wait")
    async def wait(_: Any) -> str:
        await may_end.wait()
        return "done"

    stream = await started(server, agent)
    await stream.say(assignment("wait"))
    await stream.hear_until(lambda frame: frame.attempt_acks)
    await stream.end(refusal)
    stream = await met(server, resumed=True)
    assert stream.request.session_id == "s-1"
    assert list(stream.request.held_leases) == ["l1"]
    may_end.set()
    assert (await stream.hear_until(lambda frame: frame.results)).results[0].lease_id == "l1"
    await stream.end(refusal)
    stream = await met(server, resumed=True)
    assert list(stream.request.held_leases) == ["l1"]
    assert (await result(stream)).output.data == b"done"


async def test_a_frame_that_cannot_be_read_breaks_the_stream_and_not_the_agent(
    server: FakeServer, agent: Agent
) -> None:
    stream = await started(server, agent)
    await stream.say(b"\xff garbage")
    stream = await met(server, resumed=True)
    await stream.say(assignment("double", data=b"2"))
    assert (await result(stream)).output.data == b"4"


async def test_a_server_that_dies_and_comes_back_is_found_again(server: FakeServer, agent: Agent) -> None:
    await started(server, agent)
    await server.stop()
    await server.start()
    stream = await met(server)
    await stream.say(assignment("double", data=b"1"))
    assert (await result(stream)).output.data == b"2"


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.ABORTED, "FENCED", AgentFenced),
        (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, "ROLE_INSUFFICIENT", PermissionDenied),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", InvalidField),
    ],
)
async def test_a_refusal_for_good_ends_the_agent(
    server: FakeServer, agent: Agent, code: grpc.StatusCode, reason: str, kind: type[Exception]
) -> None:
    server.refusals["Connect"] = Refusal(code, reason)
    with pytest.raises(kind):
        await agent.serve(server.address)
    with pytest.raises(kind):
        await agent.start(server.address)


async def test_fencing_stops_the_handlers(server: FakeServer, agent: Agent) -> None:
    stopped = asyncio.Event()

    @agent.on("wait")
    async def wait(_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    stream = await started(server, agent)
    await stream.say(assignment("wait"))
    await stream.hear_until(lambda frame: frame.attempt_acks)
    await stream.end(Refusal(grpc.StatusCode.ABORTED, "FENCED"))
    async with asyncio.timeout(TIMEOUT_S):
        await stopped.wait()
    with pytest.raises(AgentFenced):
        await agent.stop()


async def test_a_drain_finishes_what_runs_and_says_goodbye(server: FakeServer, agent: Agent) -> None:
    may_end = asyncio.Event()

    @agent.on("wait")
    async def wait(_: Any) -> None:
        await may_end.wait()

    stream = await started(server, agent)
    await stream.say(assignment("wait"))
    await stream.hear_until(lambda frame: frame.attempt_acks)
    stopping = asyncio.create_task(agent.stop())
    await stream.hear_until(lambda frame: frame.HasField("drain"))
    await stream.say(assignment("double", lease="l2"))
    frame = await stream.hear_until(lambda frame: frame.attempt_acks)
    assert frame.attempt_acks[0].reason == "DRAINING"
    may_end.set()
    await result(stream)
    frame = await stream.hear_until(lambda frame: frame.HasField("goodbye"))
    assert frame.goodbye.reason == "stopped"
    assert await stream.hear() is None
    await stream.end()
    await stopping


async def test_an_operator_drains_it(server: FakeServer, agent: Agent) -> None:
    serving = asyncio.create_task(agent.serve(server.address))
    stream = await met(server)
    await stream.say(wire.ConnectResponse(drain=wire.ServerDrain(reason="AGENT_DRAINED")))
    await stream.hear_until(lambda frame: frame.HasField("goodbye"))
    await stream.end()
    await serving


async def test_stopping_now_gives_back_what_runs(server: FakeServer, agent: Agent) -> None:
    @agent.on("wait")
    async def wait(_: Any) -> None:
        await asyncio.Event().wait()

    stream = await started(server, agent)
    await stream.say(assignment("wait"))
    await stream.hear_until(lambda frame: frame.attempt_acks)
    stopping = asyncio.create_task(agent.stop(now=True))
    frame = await stream.hear_until(lambda frame: frame.HasField("goodbye"))
    assert not frame.results
    await stream.end()
    await stopping


async def test_a_leaving_server_gets_the_results_and_is_left(server: FakeServer, agent: Agent) -> None:
    stream = await started(server, agent)
    await stream.say(assignment("double", data=b"2"))
    await stream.hear_until(lambda frame: frame.results)
    await stream.say(wire.ConnectResponse(drain=wire.ServerDrain(reason="DRAINING")))
    await stream.say(
        wire.ConnectResponse(
            result_acks=[wire.ResultAck(lease_id="l1", outcome=wire.ResultAck.OUTCOME_ACCEPTED)]
        )
    )
    assert await stream.hear() is None
    await stream.end()
    stream = await met(server)
    assert stream.request.session_id == "s-1"
    assert list(stream.request.held_leases) == []


async def test_a_cancelled_serve_leaves(server: FakeServer, agent: Agent) -> None:
    serving = asyncio.create_task(agent.serve(server.address))
    stream = await met(server)
    serving.cancel()
    await stream.hear_until(lambda frame: frame.HasField("goodbye"))
    await stream.end()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_capabilities_can_come_and_go(server: FakeServer, agent: Agent) -> None:
    stream = await started(server, agent)
    agent.offer("gpu")
    frame = await stream.hear_until(lambda frame: frame.capability_changes)
    assert (frame.capability_changes[0].capability, frame.capability_changes[0].removed) == ("gpu", False)
    agent.withdraw("gpu")
    frame = await stream.hear_until(lambda frame: frame.capability_changes)
    assert frame.capability_changes[0].removed


async def test_mistakes_are_told_when_they_are_made(agent: Agent) -> None:
    with pytest.raises(ValueError, match="double"):
        agent.on("double")(lambda n: n)
    with pytest.raises(TypeError, match="input"):
        agent.on("none")(lambda: None)  # type: ignore[arg-type, misc]
    with pytest.raises(TypeError, match="input"):
        agent.on("three")(lambda a, b, c: None)  # type: ignore[arg-type, misc]
    with pytest.raises(ValueError, match="handlers"):
        await Agent("x").serve("localhost:1")
    with pytest.raises(ValueError, match="slots"):
        Agent("x", slots=0)
    with pytest.raises(ValueError, match="name"):
        Agent("two words")
