"""The grpc server as it is built: options, completeness, one server for one port."""

from __future__ import annotations

import pytest

from tests.support.scripted import METHODS, ScriptedServicer, served
from upbeat_server.rpc.server import SERVER_OPTIONS, build_server


def test_the_options_that_keep_others_safe_are_set() -> None:
    options = dict(SERVER_OPTIONS)
    assert options["grpc.so_reuseport"] == 0
    assert options["grpc.max_concurrent_streams"] == 100
    assert options["grpc.http2.ping_timeout_ms"] == 10_000
    assert options["grpc.max_receive_message_length"] == 8 << 20
    assert options["grpc.max_metadata_size"] == 16 << 10


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
