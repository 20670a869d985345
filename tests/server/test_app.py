"""A whole server: what it offers, how it starts, and the order in which it stops."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.support.certificates import Authority, needs_openssl
from tests.support.http_call import get
from tests.support.runtime import settle, until
from tests.support.scripted import failure_of, reason_of
from upbeat.v1 import (
    agent_service_pb2,
    collaboration_service_pb2,
    message_service_pb2,
    sample_service_pb2,
    stats_service_pb2,
    task_pb2,
    task_service_pb2,
)
from upbeat.v1.agent_service_pb2_grpc import AgentServiceStub
from upbeat.v1.sample_service_pb2_grpc import SampleServiceStub
from upbeat.v1.stats_service_pb2_grpc import StatsServiceStub
from upbeat.v1.task_service_pb2_grpc import TaskServiceStub
from upbeat_server.app import App, StartFailed
from upbeat_server.config import Auth, Listen, ServiceSettings, Settings, StoreSettings, Tls
from upbeat_server.engine import reasons
from upbeat_server.rpc.keda import externalscaler_pb2
from upbeat_server.rpc.reflection import V1, V1ALPHA
from upbeat_server.telemetry import loop_lag

PATIENCE_S = 30
LOCAL = Listen(grpc="127.0.0.1:0", http="127.0.0.1:0")
SERVICES: tuple[ServiceDescriptor, ...] = (
    task_service_pb2.DESCRIPTOR.services_by_name["TaskService"],
    agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"],
    collaboration_service_pb2.DESCRIPTOR.services_by_name["CollaborationService"],
    message_service_pb2.DESCRIPTOR.services_by_name["MessageService"],
    stats_service_pb2.DESCRIPTOR.services_by_name["StatsService"],
    sample_service_pb2.DESCRIPTOR.services_by_name["SampleService"],
    externalscaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    channelz_pb2.DESCRIPTOR.services_by_name["Channelz"],
    V1,
    V1ALPHA,
)
METHODS = [method for service in SERVICES for method in service.methods]
DEFECTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED}


def settings(store: str = "memory", **changes: Any) -> Settings:
    """A server on free ports that is quick to stop."""
    groups = {
        "listen": LOCAL,
        "store": StoreSettings(address=store),
        "service": ServiceSettings(drain_ms=0, sample=True, channelz=True),
    }
    return Settings(**(groups | changes))


@asynccontextmanager
async def running(app: App) -> AsyncIterator[Any]:
    """A channel to an app that is started and stopped; untyped, as tests also send bytes."""
    await app.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}") as channel:
            yield channel
    finally:
        await asyncio.wait_for(app.stop(), PATIENCE_S)


def health_of(channel: grpc.aio.Channel) -> Any:
    return HealthStub(channel)


async def test_the_event_loop_is_watched_while_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "PERIOD_S", 0.0)
    app = App(settings(service=ServiceSettings(drain_ms=0, metric_types_max=0)))
    async with running(app):
        await until(lambda: sum(app._lag.seconds.counts))
        assert "upbeat_event_loop_lag_seconds_count" in (await get(app.http_port, "/metrics")).body
    woken = sum(app._lag.seconds.counts)
    await settle()
    assert sum(app._lag.seconds.counts) == woken


async def test_a_started_server_is_ready_everywhere() -> None:
    app = App(settings())
    async with running(app) as channel:
        for service in ("", *(service.full_name for service in SERVICES[:5])):
            state = await health_of(channel).Check(health_pb2.HealthCheckRequest(service=service))
            assert state.status == health_pb2.HealthCheckResponse.SERVING, service
        assert (await get(app.http_port, "/readyz")).status == 200
        assert 'upbeat_build_info{version="upbeat' in (await get(app.http_port, "/metrics")).body
        assert app.unready() == []


async def test_a_task_goes_in_and_shows_up_in_the_figures() -> None:
    app = App(settings())
    async with running(app) as channel:
        request = sample_service_pb2.SubmitSampleTaskRequest(message="hello")
        task = (await SampleServiceStub(channel).SubmitSampleTask(request)).task
        stats = (await StatsServiceStub(channel).GetStats(stats_service_pb2.GetStatsRequest())).stats
        metrics = (await get(app.http_port, "/metrics")).body
    assert task.state == task_pb2.Task.STATE_QUEUED
    assert (stats.tasks_by_state["QUEUED"], stats.submitted.count) == (1, 1)
    assert 'upbeat_tasks{namespace="default",state="QUEUED"} 1.0' in metrics
    assert 'upbeat_queue_tasks{namespace="default",priority="NORMAL"} 1.0' in metrics


async def test_a_server_without_http_has_no_http_port() -> None:
    app = App.embedded()
    async with running(app) as channel:
        assert app.http_port == 0
        await health_of(channel).Check(health_pb2.HealthCheckRequest())


async def test_tasks_are_there_again_after_a_restart(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'upbeat.db'}"
    async with running(App(settings(store))) as channel:
        request = sample_service_pb2.SubmitSampleTaskRequest(message="hello")
        task = (await SampleServiceStub(channel).SubmitSampleTask(request)).task
    async with running(App(settings(store))) as channel:
        found = await TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest(task_id=task.task_id))
    assert found.task.spec.input.data == b"hello"


async def test_a_grpc_port_in_use_is_one_sentence_and_leaves_nothing_open() -> None:
    app = App(settings())
    async with running(app):
        listen = Listen(grpc=f"127.0.0.1:{app.grpc_port}", http="127.0.0.1:0")
        second = App(settings(listen=listen))
        with pytest.raises(StartFailed, match=f"127.0.0.1:{app.grpc_port} is in use"):
            await second.start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", second.http_port))


async def test_an_http_port_in_use_is_one_sentence() -> None:
    app = App(settings())
    async with running(app):
        listen = Listen(grpc="127.0.0.1:0", http=f"127.0.0.1:{app.http_port}")
        with pytest.raises(StartFailed, match=f"127.0.0.1:{app.http_port} is in use"):
            await App(settings(listen=listen)).start()


async def test_a_file_that_is_not_ours_is_one_sentence(tmp_path: Path) -> None:
    foreign = tmp_path / "other.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE other (a)")
    connection.close()
    with pytest.raises(StartFailed, match=r"other\.db") as caught:
        await App(settings(f"sqlite:{foreign}")).start()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["postgresql://localhost/upbeat", "nonsense", "sqlite:"])
async def test_a_store_that_cannot_be_is_one_sentence(address: str) -> None:
    with pytest.raises(StartFailed):
        await App(settings(address)).start()


async def test_certificates_and_tokens_that_are_not_there_are_told(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(StartFailed, match=r"nothing\.pem"):
        await App(settings(tls=Tls(cert_file=nothing, key_file=nothing))).start()
    with pytest.raises(StartFailed, match=r"nothing\.pem"):
        await App(settings(auth=Auth(tokens_file=nothing))).start()


async def test_stopping_a_server_that_never_started_is_nothing() -> None:
    await App(settings()).stop()


async def test_stopping_says_no_first_then_ends_streams_with_their_reason() -> None:
    app = App(settings())
    async with running(app) as channel:
        health = health_of(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        stats = StatsServiceStub(channel).WatchStats(stats_service_pb2.WatchStatsRequest())
        await stats.read()
        tasks = TaskServiceStub(channel).WatchTasks(task_service_pb2.WatchTasksRequest())
        await tasks.read()
        agent: Any = AgentServiceStub(channel).Connect()
        await agent.write(
            agent_service_pb2.ConnectRequest(
                hello=agent_service_pb2.Hello(agent_id="a", capabilities=["upbeat.sample"], slots=1)
            )
        )
        assert (await agent.read()).HasField("welcome")

        await asyncio.wait_for(app.stop(), PATIENCE_S)

        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert reason_of(await failure_of(_to_the_end(stats))) == reasons.DRAINING
        assert reason_of(await failure_of(_to_the_end(tasks))) == reasons.DRAINING
        frames: list[Any] = []
        assert reason_of(await failure_of(_to_the_end(agent, frames))) == reasons.DRAINING
        assert frames[0].drain.reason == reasons.DRAINING


async def test_while_it_drains_looks_are_answered_and_work_is_refused() -> None:
    app = App(settings(service=ServiceSettings(drain_ms=600_000, sample=True)))
    async with running(app) as channel:
        agent: Any = AgentServiceStub(channel).Connect()
        hello = agent_service_pb2.Hello(agent_id="a", capabilities=["other"], slots=1)
        await agent.write(agent_service_pb2.ConnectRequest(hello=hello))
        await agent.read()
        stopping = asyncio.create_task(app.stop())
        assert (await agent.read()).drain.reason == reasons.DRAINING

        refused = await failure_of(
            SampleServiceStub(channel).SubmitSampleTask(sample_service_pb2.SubmitSampleTaskRequest())
        )
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(refused) == reasons.DRAINING
        await StatsServiceStub(channel).GetStats(stats_service_pb2.GetStatsRequest())
        assert json.loads((await get(app.http_port, "/readyz")).body)["reasons"] == ["draining"]
        health = await health_of(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING

        app.hurry()
        await asyncio.wait_for(stopping, PATIENCE_S)
        agent.cancel()


async def test_it_stops_when_the_last_agent_has_left() -> None:
    app = App(settings(service=ServiceSettings(drain_ms=600_000)))
    async with running(app) as channel:
        agent: Any = AgentServiceStub(channel).Connect()
        hello = agent_service_pb2.Hello(agent_id="a", capabilities=["other"], slots=1)
        await agent.write(agent_service_pb2.ConnectRequest(hello=hello))
        await agent.read()
        stopping = asyncio.create_task(app.stop())
        await agent.read()
        await agent.done_writing()
        await asyncio.wait_for(stopping, PATIENCE_S)
        agent.cancel()


async def test_a_store_that_fails_makes_it_unready_until_it_heals() -> None:
    app = App(settings())
    async with running(app) as channel:
        app.recorder.store_health(False)
        assert (await get(app.http_port, "/readyz")).status == 503
        state = await health_of(channel).Check(health_pb2.HealthCheckRequest())
        assert state.status == health_pb2.HealthCheckResponse.NOT_SERVING
        app.recorder.store_health(True)
        assert (await get(app.http_port, "/readyz")).status == 200


def garbage_for(method: MethodDescriptor) -> list[bytes]:
    """Bytes that no stub would send: broken ones, and well-formed ones without sense."""
    chance = random.Random(method.full_name)
    return [
        b"",
        b"\x02\x00",
        b"\x0a\x05ab",
        b"\x0a\x01\xff",
        b"\x7b",
        b"\x08" + b"\x80" * 10 + b"\x01",
        b"\x12\x00" * 524_288,
        *(chance.randbytes(size) for size in (1, 2, 3, 5, 8, 13, 21, 100, 1_000)),
        *(_scrambled(chance) for _ in range(40)),
    ]


def _scrambled(chance: random.Random) -> bytes:
    """Fields that are read: numbers 1 to 12 with texts, numbers and messages as they come."""
    fields = []
    for _ in range(chance.randrange(1, 6)):
        number = chance.randrange(1, 13)
        if chance.random() < 0.5:
            fields.append(bytes((number << 3, *b"\xff" * 9, 1)))  # -1
        else:
            text = chance.choice((b"", b"\n\x1b\x00", b"../..", b"\x0a\x01a", b"\x08\x01", b"\x12\x00" * 20))
            fields.append(bytes((number << 3 | 2, len(text))) + text)
    return b"".join(fields)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
async def test_garbage_is_never_a_defect_of_the_server(method: MethodDescriptor) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with running(App(settings())) as channel:
        for message in garbage_for(method):
            code = await _code_of(channel, method, path, message)
            assert code not in DEFECTS, message[:100]
        state = await health_of(channel).Check(health_pb2.HealthCheckRequest())
        assert state.status == health_pb2.HealthCheckResponse.SERVING


@needs_openssl
async def test_with_tls_and_tokens_only_who_has_both_gets_in(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(
        '[[tokens]]\nname = "ci"\ntoken = "a-token-of-the-tests"\n'
        'roles = ["submitter"]\nnamespaces = ["team"]\n'
    )
    tokens.chmod(0o600)
    app = App(settings(tls=Tls(cert_file=pair.cert, key_file=pair.key), auth=Auth(tokens_file=tokens)))
    await app.start()
    try:
        credentials = grpc.ssl_channel_credentials(authority.cert.read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{app.grpc_port}", credentials) as channel:
            samples = SampleServiceStub(channel)
            request = sample_service_pb2.SubmitSampleTaskRequest(namespace="team")
            known = (("authorization", "Bearer a-token-of-the-tests"),)
            assert (await samples.SubmitSampleTask(request, metadata=known)).task.task_id
            stranger = await failure_of(samples.SubmitSampleTask(request))
            elsewhere = await failure_of(
                samples.SubmitSampleTask(sample_service_pb2.SubmitSampleTaskRequest(), metadata=known)
            )
            drain = agent_service_pb2.DrainAgentRequest(namespace="team", agent_id="a")
            beyond = await failure_of(AgentServiceStub(channel).DrainAgent(drain, metadata=known))
            await health_of(channel).Check(health_pb2.HealthCheckRequest())
    finally:
        await app.stop()
    assert reason_of(stranger) == reasons.TOKEN_INVALID
    assert stranger.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason_of(elsewhere) == reason_of(beyond) == reasons.ROLE_INSUFFICIENT


async def _to_the_end(call: Any, frames: list[Any] | None = None) -> None:
    while (frame := await call.read()) is not grpc.aio.EOF:
        if frames is not None:
            frames.append(frame)


async def _code_of(channel: Any, method: MethodDescriptor, path: str, message: bytes) -> grpc.StatusCode:
    """The code that a call with these bytes ends with; a stream is left after its first answer."""
    try:
        if method.client_streaming:
            stream = channel.stream_stream(path)(timeout=PATIENCE_S)
            await stream.write(message)
            await stream.done_writing()
            await _to_the_end(stream)
        elif method.server_streaming:
            watch = channel.unary_stream(path)(message, timeout=PATIENCE_S)
            await watch.read()
            watch.cancel()
        else:
            await channel.unary_unary(path)(message, timeout=PATIENCE_S)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
