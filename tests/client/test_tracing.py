"""One trace over caller, server and agent, with spans that are kept in memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import upbeat
from tests.support.spans import linked, named, own_spans, parent_id, span_id, trace_id, traced_app
from upbeat import Agent, Client, Context, Fail, SyncClient, TaskFailed
from upbeat.v1 import task_service_pb2, task_service_pb2_grpc
from upbeat_server.app import App

TRACER = trace.get_tracer("caller")
TIMEOUT_S = 30.0
LEVEL_2 = f"00-{'1' * 32}-{'2' * 16}-03"
UNSAMPLED = f"00-{'1' * 32}-{'2' * 16}-00"


@pytest.fixture
def mine() -> Iterator[InMemorySpanExporter]:
    kept = own_spans()
    kept.clear()
    yield kept
    kept.clear()


@pytest.fixture
def servers() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@asynccontextmanager
async def running(app: App) -> AsyncIterator[str]:
    await app.start()
    try:
        yield f"127.0.0.1:{app.grpc_port}"
    finally:
        await app.stop()


@asynccontextmanager
async def fleet(app: App, *agents: Agent) -> AsyncIterator[Client]:
    async with running(app) as address, Client(address) as up:
        for agent in agents:
            await agent.start(address)
        yield up
        for agent in agents:
            await agent.stop()


def echo(name: str = "w", **options: Any) -> Agent:
    agent = Agent(name, **options)

    @agent.on("echo")
    async def answer(value: Any) -> Any:
        return value

    return agent


async def test_one_trace_reaches_from_the_caller_over_server_and_agent(
    mine: InMemorySpanExporter, servers: InMemorySpanExporter
) -> None:
    agent = Agent("w")
    told: list[str] = []

    @agent.on("work")
    async def work(value: int, ctx: Context) -> int:
        told.append(ctx.traceparent)
        with TRACER.start_as_current_span("model call"):
            return value

    async with fleet(traced_app(servers), agent) as up:
        with TRACER.start_as_current_span("request"):
            assert await up.run("work", 7, timeout=TIMEOUT_S) == 7
    (request,), (attempt,) = named(mine, "request"), named(servers, "attempt work")
    (process,), (call,) = named(mine, "process work"), named(mine, "model call")
    assert [parent_id(span) for span in (attempt, process, call)] == [
        span_id(span) for span in (request, attempt, process)
    ]
    assert {trace_id(span) for span in (request, attempt, process, call)} == {trace_id(request)}
    assert request.context is not None
    flags = request.context.trace_flags
    assert told == [f"00-{trace_id(request):032x}-{span_id(attempt):016x}-{flags:02x}"]
    assert attempt.attributes is not None
    assert attempt.attributes["messaging.destination.name"] == "work"
    assert attempt.attributes["upbeat.agent.id"] == agent.agent_id
    assert attempt.attributes["upbeat.outcome"] == "COMPLETED"


async def test_a_retry_is_linked_to_the_attempt_before_and_says_no_more_than_the_reason(
    mine: InMemorySpanExporter, servers: InMemorySpanExporter
) -> None:
    agent = Agent("w")

    @agent.on("fragile")
    async def fragile(value: str, ctx: Context) -> str:
        raise Fail("OUT_OF_LUCK", f"{value}: the secret of attempt {ctx.attempt}")

    retry = upbeat.Retry(max_attempts=3, initial_backoff=0)
    async with fleet(traced_app(servers), agent) as up:
        with TRACER.start_as_current_span("request") as request, pytest.raises(TaskFailed):
            await up.run("fragile", "a secret", timeout=TIMEOUT_S, retry=retry, labels={"l": "secret"})
    attempts = named(servers, "attempt fragile")
    ids = [span_id(span) for span in attempts]
    assert [linked(span, "retry") for span in attempts] == [[], ids[:1], ids[1:2]]
    assert {parent_id(span) for span in attempts} == {request.get_span_context().span_id}
    assert [parent_id(span) for span in named(mine, "process fragile")] == ids
    assert {(span.status.status_code, span.status.description) for span in attempts} == {
        (trace.StatusCode.ERROR, "OUT_OF_LUCK")
    }
    assert "secret" not in "".join(span.to_json() for span in servers.get_finished_spans())


async def test_members_of_collaborations_hang_below_them_and_are_linked(
    mine: InMemorySpanExporter, servers: InMemorySpanExporter
) -> None:
    kind = upbeat.sequence("echo", upbeat.consensus("echo", voters=3))
    async with fleet(traced_app(servers), *(echo(f"w{n}") for n in range(3))) as up:
        with TRACER.start_as_current_span("request") as request:
            await up.run(kind, "same", timeout=TIMEOUT_S)
    (whole,), (vote,) = named(servers, "collaboration sequential"), named(servers, "collaboration consensus")
    first, *ballots = named(servers, "attempt echo")
    assert parent_id(whole) == request.get_span_context().span_id
    assert parent_id(first) == parent_id(vote) == span_id(whole)
    assert linked(whole, "member") == [span_id(first), span_id(vote)]
    assert {parent_id(ballot) for ballot in ballots} == {span_id(vote)}
    assert sorted(linked(vote, "member")) == sorted(span_id(ballot) for ballot in ballots)
    assert len(ballots) >= 2, "two of three decide"
    assert {trace_id(span) for span in servers.get_finished_spans()} == {trace_id(whole)}


async def test_a_trace_goes_on_over_a_restart_of_the_server(
    tmp_path: Path, mine: InMemorySpanExporter, servers: InMemorySpanExporter
) -> None:
    agent = Agent("w")
    came, may_pass = asyncio.Event(), asyncio.Event()

    @agent.on("long")
    async def long(value: int) -> int:
        came.set()
        await may_pass.wait()
        return value

    first_life = InMemorySpanExporter()
    store = f"sqlite:{tmp_path}/tasks.db"
    kind = upbeat.sequence("echo", "long")
    async with running(traced_app(first_life, store=store)) as address:
        client, other = Client(address), echo()
        await agent.start(address)
        await other.start(address)
        with TRACER.start_as_current_span("request"):
            result = asyncio.create_task(client.run(kind, 5, timeout=TIMEOUT_S))
        await came.wait()
    assert [span.name for span in first_life.get_finished_spans()] == ["attempt echo"]
    async with running(traced_app(servers, store=store, listen=address)):
        may_pass.set()
        assert await result == 5
        await client.close()
        await other.stop()
        await agent.stop()
    (attempt,), (whole,) = named(servers, "attempt long"), named(servers, "collaboration sequential")
    (before,) = named(first_life, "attempt echo")
    assert parent_id(named(mine, "process long")[0]) == span_id(attempt)
    assert parent_id(attempt) == parent_id(before) == span_id(whole)
    assert linked(whole, "member") == [span_id(before), span_id(attempt)]
    assert parent_id(whole) == span_id(named(mine, "request")[0])


async def test_what_the_caller_does_not_record_nobody_records(
    mine: InMemorySpanExporter, servers: InMemorySpanExporter
) -> None:
    async with fleet(traced_app(servers), *(echo(f"w{n}") for n in range(2))) as up:
        await up.run("echo", 1, traceparent=UNSAMPLED, timeout=TIMEOUT_S)
        await up.run(upbeat.race("echo", candidates=2), 1, traceparent=UNSAMPLED, timeout=TIMEOUT_S)
    assert [span.name for span in (*servers.get_finished_spans(), *mine.get_finished_spans())] == []


@pytest.mark.parametrize(("ratio", "recorded"), [(0.0, 0), (1.0, 1)])
async def test_a_trace_that_begins_at_the_server_is_recorded_wholly_or_not_at_all(
    ratio: float, recorded: int, mine: InMemorySpanExporter, servers: InMemorySpanExporter
) -> None:
    async with fleet(traced_app(servers, ratio), echo()) as up:
        await up.run(upbeat.sequence("echo"), 1, timeout=TIMEOUT_S)
        await up.run("echo", 1, traceparent="00-1-2-03", timeout=TIMEOUT_S)
    attempts = named(servers, "attempt echo")
    assert len(attempts) == len(named(mine, "process echo")) == 2 * recorded
    assert len({trace_id(span) for span in attempts}) == 2 * recorded
    assert [span_id(span) for span in attempts] == [parent_id(span) for span in named(mine, "process echo")]


async def test_what_a_parent_says_beside_being_sampled_is_kept(servers: InMemorySpanExporter) -> None:
    agent, told = Agent("w"), list[str]()

    @agent.on("echo")
    async def answer(value: Any, ctx: Context) -> Any:
        told.append(ctx.traceparent)

    async with fleet(traced_app(servers), agent) as up:
        await up.run("echo", 1, traceparent=LEVEL_2, timeout=TIMEOUT_S)
    assert told == [f"00-{'1' * 32}-{span_id(named(servers, 'attempt echo')[0]):016x}-03"]


async def test_unary_calls_have_spans_and_streams_have_none(
    mine: InMemorySpanExporter, servers: InMemorySpanExporter
) -> None:
    pb: Any = task_service_pb2  # Messages take dicts for messages, which their stubs do not know.
    async with fleet(traced_app(servers), echo()) as up:
        with TRACER.start_as_current_span("request") as request:
            handle = await up.submit("echo", 1)
            await handle.result()
            await handle.get()
        async with grpc.aio.insecure_channel(up._core.connection.target.address) as channel:
            stub: Any = task_service_pb2_grpc.TaskServiceStub(channel)
            task = (await stub.SubmitTask(pb.SubmitTaskRequest(spec={"type": "echo"}))).task
            await stub.GetTask(pb.GetTaskRequest(task_id=task.task_id, wait={"seconds": 30}))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetTask(pb.GetTaskRequest(task_id="0" * 16))
    calls = [span for span in servers.get_finished_spans() if span.kind is trace.SpanKind.SERVER]
    of_request = [span for span in calls if trace_id(span) == request.get_span_context().trace_id]
    assert {span.name.rpartition("/")[2] for span in of_request} <= {"BatchSubmitTasks", "GetTask"}
    assert any(span.name.endswith("GetTask") for span in of_request)
    assert {parent_id(span) for span in of_request} == {request.get_span_context().span_id}
    (submit,) = named(servers, "upbeat.v1.TaskService/SubmitTask")
    assert parent_id(submit) == 0
    assert span_id(submit) in [parent_id(span) for span in named(servers, "attempt echo")]
    codes = [(span.attributes or {})["rpc.grpc.status_code"] for span in calls]
    assert codes.count(0) == len(codes) - 1
    assert grpc.StatusCode.INVALID_ARGUMENT.value[0] in codes


def test_programs_without_asyncio_are_traced_as_well(
    mine: InMemorySpanExporter, servers: InMemorySpanExporter
) -> None:
    agent = Agent("w")
    agent.on("double")(lambda n: 2 * n)
    app = traced_app(servers)

    def ask(address: str) -> int:
        with SyncClient(address) as up, TRACER.start_as_current_span("request"):
            return int(up.run("double", 4, timeout=TIMEOUT_S))

    async def live() -> None:
        async with running(app) as address:
            await agent.start(address)
            assert await asyncio.to_thread(ask, address) == 8
            await agent.stop()

    asyncio.run(live())
    (request,), (attempt,) = named(mine, "request"), named(servers, "attempt double")
    (process,) = named(mine, "process double")
    assert (parent_id(attempt), parent_id(process)) == (span_id(request), span_id(attempt))


def test_nothing_of_opentelemetry_is_imported_for_programs_that_do_not_use_it() -> None:
    program = """
import sys
import upbeat, upbeat_server.app
from upbeat.tracing import current_traceparent, handling
from upbeat.v1 import agent_service_pb2
assert current_traceparent() == ""
with handling(agent_service_pb2.Assignment(type="work")):
    print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
