"""grpc.health.v1 behind our door."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.support.scripted import failure_of, reason_of
from upbeat_server.rpc import health
from upbeat_server.rpc.health import HealthService
from upbeat_server.rpc.server import build_server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture
def service() -> HealthService:
    return HealthService(["upbeat.v1.TaskService"])


@pytest.fixture
async def stub(service: HealthService) -> AsyncIterator[HealthStub]:
    server = build_server([service])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield HealthStub(channel)
    await server.stop(0)


@pytest.mark.parametrize("name", ["", "upbeat.v1.TaskService"])
async def test_the_server_and_each_service_have_a_state(
    service: HealthService, stub: HealthStub, name: str
) -> None:
    request = health_pb2.HealthCheckRequest(service=name)
    assert (await stub.Check(request)).status == NOT_SERVING
    service.set_serving(True)
    assert (await stub.Check(request)).status == SERVING
    service.set_serving(False)
    assert (await stub.Check(request)).status == NOT_SERVING


async def test_a_service_that_nobody_offers_is_not_found(stub: HealthStub) -> None:
    error = await failure_of(stub.Check(health_pb2.HealthCheckRequest(service="none")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_all_states_can_be_listed(service: HealthService, stub: HealthStub) -> None:
    service.set_serving(True)
    listed = await stub.List(health_pb2.HealthListRequest())
    assert {name: entry.status for name, entry in listed.statuses.items()} == {
        "": SERVING,
        "upbeat.v1.TaskService": SERVING,
    }


async def test_a_watch_tells_every_change_and_no_repeats(service: HealthService, stub: HealthStub) -> None:
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == NOT_SERVING
    service.set_serving(False)
    service.set_serving(True)
    assert (await watch.read()).status == SERVING
    watch.cancel()


async def test_a_watch_of_an_unknown_service_stays_open(stub: HealthStub) -> None:
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="none"))
    assert (await watch.read()).status == SERVICE_UNKNOWN
    assert not watch.done()
    watch.cancel()


async def test_watches_are_bounded(stub: HealthStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "WATCHES_MAX", 1)
    first = stub.Watch(health_pb2.HealthCheckRequest())
    await first.read()
    second = stub.Watch(health_pb2.HealthCheckRequest())
    assert reason_of(await failure_of(second.read())) == "STREAMS_EXHAUSTED"
    first.cancel()


async def test_a_watch_that_ends_makes_room(stub: HealthStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "WATCHES_MAX", 1)
    first = stub.Watch(health_pb2.HealthCheckRequest())
    await first.read()
    first.cancel()
    states: list[int] = []
    async with asyncio.timeout(20):
        while not states:  # The server learns a little later that the first one left.
            again = stub.Watch(health_pb2.HealthCheckRequest())
            with contextlib.suppress(grpc.aio.AioRpcError):
                states.append((await again.read()).status)
            again.cancel()
    assert states == [NOT_SERVING]
