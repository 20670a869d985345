"""A port that is served again when grpc breaks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import pytest

from tests.server.rpc.bad_input.raw_call import call, message
from tests.support.scripted import ScriptedServicer
from upbeat.v1 import task_service_pb2
from upbeat_server.rpc.listener import Listener
from upbeat_server.rpc.method import Call
from upbeat_server.rpc.server import build_server

GET = b"/upbeat.v1.TaskService/GetTask"


async def answer(_request: Any, _call: Call) -> Any:
    return task_service_pb2.GetTaskResponse()


def listener() -> Listener:
    """A listener on any free port."""
    return Listener(
        lambda: build_server([ScriptedServicer(get_task=answer)]),
        lambda server, port: server.add_insecure_port(f"127.0.0.1:{port}"),
        0,
    )


async def served_again(port: int) -> dict[str, str]:
    """The answer to a call, as soon as there is one."""
    while True:
        with suppress(ConnectionError):
            told = await call(port, GET, message(b""))
            if "grpc-status" in told:
                return told  # Not the farewell of the server that is leaving.
        await asyncio.sleep(0)  # Nobody can be told when the port is back but by asking.


async def test_a_path_that_is_not_utf8_does_not_end_the_service() -> None:
    listening = listener()
    await listening.start()
    port = listening.port
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        waiting: Any = channel.stream_stream("/upbeat.v1.TaskService/StreamTasks")()
        for _ in range(2):
            await call(port, b"/\xff", message(b""))
            assert (await served_again(port))["grpc-status"] == "0"
        assert await waiting.code() is not grpc.StatusCode.OK
    await listening.stop(0)
    with pytest.raises(ConnectionError):
        await call(port, GET, message(b""))
