"""The grpc server as it is built: options, completeness, one server for one port."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.support.scripted import METHODS, ScriptedServicer, served
from upbeat.v1 import task_service_pb2
from upbeat_server.config import Connections
from upbeat_server.rpc.server import build_server, connection_options

PATIENCE_S = 60


async def answer_task(request: Any, call: Any) -> task_service_pb2.GetTaskResponse:
    return task_service_pb2.GetTaskResponse()


@pytest.mark.parametrize(("channels", "calls"), [(1, 600), (25, 100)], ids=["one channel", "many channels"])
async def test_a_crowd_of_ordinary_calls_is_served_to_the_last(channels: int, calls: int) -> None:
    server = build_server([ScriptedServicer(get_task=answer_task)])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    crowd = [
        grpc.aio.insecure_channel(address, options=[("upbeat.channel", number)]) for number in range(channels)
    ]
    stubs: list[Any] = [channel.unary_unary("/upbeat.v1.TaskService/GetTask") for channel in crowd]
    try:
        await asyncio.gather(*(stub(b"", timeout=PATIENCE_S) for stub in stubs for _ in range(calls)))
    finally:
        await asyncio.gather(*(channel.close() for channel in crowd))
        await server.stop(0)


def test_the_options_that_keep_others_safe_are_set() -> None:
    options = dict(connection_options(Connections()))
    assert options["grpc.so_reuseport"] == 0
    assert options["grpc.max_concurrent_streams"] == 100
    assert options["grpc.http2.ping_timeout_ms"] == 10_000
    assert options["grpc.max_receive_message_length"] == 8 << 20
    assert options["grpc.max_metadata_size"] == 16 << 10


def test_every_setting_of_connections_reaches_grpc() -> None:
    chosen = Connections(
        connections_max=11,
        streams_max=12,
        pending_calls_max=13,
        handshake_ms=1_400,
        idle_ms=1_500,
        age_ms=1_600,
        age_grace_ms=1_700,
    )
    options = dict(connection_options(chosen))
    assert options["grpc.max_allowed_incoming_connections"] == 11
    assert options["grpc.max_concurrent_streams"] == 12
    assert options["grpc.server.max_pending_requests"] == 13
    assert options["grpc.server.max_pending_requests_hard_limit"] == 26
    assert options["grpc.server_handshake_timeout_ms"] == 1_400
    assert options["grpc.max_connection_idle_ms"] == 1_500
    assert options["grpc.max_connection_age_ms"] == 1_600
    assert options["grpc.max_connection_age_grace_ms"] == 1_700


@pytest.mark.parametrize("option", ["grpc.max_connection_idle_ms", "grpc.max_connection_age_ms"])
def test_a_life_of_zero_has_no_bound(option: str) -> None:
    assert option not in dict(connection_options(Connections(idle_ms=0, age_ms=0)))


async def test_connections_beyond_the_bound_are_not_taken() -> None:
    server = build_server(
        [ScriptedServicer(get_task=answer_task)], connections=Connections(connections_max=2)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    writers = []
    try:
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.read(9)  # The server's SETTINGS.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
    finally:
        for writer in writers:
            writer.transport.abort()
        await server.stop(0)


@pytest.mark.parametrize("method", METHODS)
async def test_a_servicer_that_lacks_an_rpc_is_told_at_the_start(method: str) -> None:
    servicer = ScriptedServicer()
    delattr(servicer, method)
    with pytest.raises(AttributeError, match=method):
        build_server([servicer])


async def test_an_rpc_without_a_role_is_told_at_the_start() -> None:
    servicer = ScriptedServicer()
    del servicer.roles["get_task"]
    with pytest.raises(KeyError, match="get_task"):
        build_server([servicer])


async def test_a_second_server_on_a_port_is_refused() -> None:
    first, second = build_server([]), build_server([])
    port = first.add_insecure_port("127.0.0.1:0")
    with pytest.raises(RuntimeError):
        second.add_insecure_port(f"127.0.0.1:{port}")
    await first.stop(None)
    await second.stop(None)


async def test_a_method_that_nobody_offers_is_unimplemented() -> None:
    from tests.support.scripted import failure_of

    async with served(ScriptedServicer()) as channel:
        error = await failure_of(channel.unary_unary("/upbeat.v1.TaskService/Nothing")(b""))
    assert error.code().name == "UNIMPLEMENTED"
