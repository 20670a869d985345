"""The two ends of a call: stubs for clients, contexts for the doors of the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc.aio import EOF, AbortError, BaseError, Metadata

from tests.simulation.network import TOO_LATE, Wire, error_of
from upbeat.v1 import agent_service_pb2, collaboration_service_pb2, stats_service_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.network import Network
    from tests.simulation.virtual_loop import Host

SERVICES = {
    name: module.DESCRIPTOR.services_by_name[name]
    for name, module in (
        ("TaskService", task_service_pb2),
        ("AgentService", agent_service_pb2),
        ("CollaborationService", collaboration_service_pb2),
        ("StatsService", stats_service_pb2),
    )
}


class ClientCall:
    """A stream as grpc.aio gives it to a client."""

    def __init__(self, wire: Wire, parse: Callable[[bytes], Any]) -> None:
        self._wire = wire
        self._parse = parse

    async def read(self) -> Any:
        """The next message; EOF at a good end. Raises AioRpcError, or CancelledError after ``cancel``."""
        data = await self._wire.down.read()
        if data is not None:
            return self._parse(data)
        status = self._wire.status
        assert status is not None
        if status[0] is grpc.StatusCode.CANCELLED and status[1].startswith("Locally"):
            raise asyncio.CancelledError
        if status[0] is not grpc.StatusCode.OK:
            raise error_of(status)
        return EOF

    async def write(self, message: Any) -> None:
        """Send a message."""
        if self._wire.status is not None:
            raise asyncio.InvalidStateError("RPC already finished.")
        await self._wire.up.write(message.SerializeToString())

    async def done_writing(self) -> None:
        """Half-close."""
        self._wire.up.end(self._wire.up.close)

    def cancel(self) -> bool:
        """Give the call up."""
        self._wire.cancel()
        return True

    async def code(self) -> grpc.StatusCode:
        """How it ended."""
        code: grpc.StatusCode = (await self._end())[0]
        return code

    async def details(self) -> str:
        """With which words."""
        words: str = (await self._end())[1]
        return words

    async def trailing_metadata(self) -> Any:
        """And with which details."""
        return Metadata(*(await self._end())[2])

    async def _end(self) -> Any:
        while self._wire.status is None:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.05)
        return self._wire.status


class Stub:
    """All methods of a service, as one host calls them."""

    def __init__(self, network: Network, host: Host, service: str) -> None:
        for method in SERVICES[service].methods:
            name = f"{method.containing_service.full_name}/{method.name}"
            parse = GetMessageClass(method.output_type).FromString
            if method.client_streaming or method.server_streaming:
                call = _streaming(network, host, name, parse, is_in=method.client_streaming)
            else:
                call = _unary(network, host, name, parse)
            setattr(self, method.name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _streaming(
    network: Network, host: Host, name: str, parse: Callable[[bytes], Any], *, is_in: bool
) -> Callable[..., Any]:
    def call(request: Any = None, **_options: Any) -> ClientCall:
        data = None if is_in else request.SerializeToString()
        return ClientCall(network.connect(host, name, data), parse)

    return call


def _unary(network: Network, host: Host, name: str, parse: Callable[[bytes], Any]) -> Callable[..., Any]:
    async def call(request: Any, timeout: float = 30.0, **_options: Any) -> Any:  # noqa: ASYNC109 - as grpc
        wire = network.connect(host, name, request.SerializeToString())
        deadline = network.loop.call_later(timeout, _give_up, wire)
        try:
            data = await wire.down.read()
        finally:
            deadline.cancel()
            wire.cancel()
        if data is not None:
            return parse(data)
        assert wire.status is not None
        raise error_of(wire.status)

    return call


def _give_up(wire: Wire) -> None:
    wire.told_client(TOO_LATE)
    wire.network.at(wire.network.arrival_s(wire.client), wire.told_server)


class ServerContext:
    """A call as grpc.aio gives it to a handler that takes and gives bytes."""

    def __init__(self, wire: Wire, watch: Callable[[str, bytes], None]) -> None:
        self._wire = wire
        self._watch = watch  # Told of everything that leaves.

    def peer(self) -> str:
        """Where it comes from."""
        return f"ipv4:10.0.0.1:{self._wire.client.name}"

    def invocation_metadata(self) -> tuple[()]:
        """Without a token."""
        return ()

    def time_remaining(self) -> float | None:
        """Unknown."""
        return None

    async def send_initial_metadata(self, _metadata: Any) -> None:
        """Nothing of it is told apart here."""

    async def read(self) -> Any:
        """The next message, or EOF: a peer that is gone looks the same."""
        data = await self._wire.up.read()
        return EOF if data is None else data

    async def write(self, data: bytes) -> None:
        """Send a message."""
        if self._wire.is_gone:
            raise BaseError("the call is over")
        self._watch(self._wire.method, data)
        await self._wire.down.write(data)
        if self._wire.is_gone:
            raise BaseError("the call is over")

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        """End the call with a status."""
        self._wire.finish((code, details, tuple(trailing_metadata or ())))
        raise AbortError

    async def answer(self, data: bytes) -> None:
        """The answer of a unary call."""
        if not self._wire.is_gone:
            self._watch(self._wire.method, data)
            await self._wire.down.write(data)
