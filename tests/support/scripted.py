"""A servicer whose RPCs are given by the test, behind the real door and a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from upbeat.v1 import task_service_pb2
from upbeat_server.rpc.door import Door
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.server import build_server

SERVICE = task_service_pb2.DESCRIPTOR.services_by_name["TaskService"]
METHODS = (
    "submit_task",
    "batch_submit_tasks",
    "stream_tasks",
    "get_task",
    "list_tasks",
    "cancel_task",
    "watch_tasks",
    "explain_task",
)


async def unexpected(*_: Any) -> Any:
    """What an RPC does that the test says nothing of."""
    raise AssertionError("the servicer must not be reached")


class ScriptedServicer:
    """TaskService, each RPC a coroutine function of the test."""

    descriptor = SERVICE

    def __init__(self, roles: dict[str, Role] | None = None, **rpcs: Callable[..., Awaitable[Any]]) -> None:
        self.roles: dict[str, Role] = dict.fromkeys(METHODS, Role.VIEWER) | (roles or {})
        for name in METHODS:
            setattr(self, name, rpcs.get(name, unexpected))


@asynccontextmanager
async def served(servicer: ScriptedServicer, door: Door | None = None) -> AsyncIterator[Any]:
    """A channel to a server that offers the servicer; untyped, as tests also send bytes."""
    server = build_server([servicer], door)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0)


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    """The error that a call must end with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in the status of a failed call; empty if there is none."""
    return str(info_of(error).reason)


def info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo in the status of a failed call."""
    info = error_details_pb2.ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            assert status.code == error.code().value[0]
            for detail in status.details:
                detail.Unpack(info)
    return info
