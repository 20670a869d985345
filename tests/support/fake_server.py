"""A gRPC server that says what the test tells it to: for tests of the SDK alone.

Streams become conversations: the test hears what the client sent and answers
it. Unary calls are answered by functions the test gives. The server runs on the
SDK's I/O thread, because only one event loop of a process may use gRPC.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.rpc import error_details_pb2, status_pb2

from upbeat.io_thread import io_thread
from upbeat.v1 import agent_service_pb2, collaboration_service_pb2, stats_service_pb2, task_service_pb2

TIMEOUT_S = 20.0

SERVICES: tuple[ServiceDescriptor, ...] = (
    task_service_pb2.DESCRIPTOR.services_by_name["TaskService"],
    agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"],
    collaboration_service_pb2.DESCRIPTOR.services_by_name["CollaborationService"],
    stats_service_pb2.DESCRIPTOR.services_by_name["StatsService"],
)


class Refusal(Exception):
    """Raised by an answer: the call ends with this status."""

    def __init__(
        self, code: grpc.StatusCode, reason: str, message: str = "", retry_s: float | None = None
    ) -> None:
        super().__init__(message or reason)
        self.code = code
        self.reason = reason
        self.message = message or reason
        self.retry_s = retry_s

    def metadata(self) -> tuple[tuple[str, bytes], ...]:
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        details: list[Any] = [error_details_pb2.ErrorInfo(reason=self.reason, domain="upbeat")]
        if self.retry_s is not None:
            info = error_details_pb2.RetryInfo()
            info.retry_delay.FromMilliseconds(round(self.retry_s * 1000))
            details.append(info)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return (("grpc-status-details-bin", status.SerializeToString()),)


class Conversation:
    """One stream of a client, as the test holds it. All methods are for the test's loop."""

    def __init__(self, context: Any, request: Any = None) -> None:
        self.request = request
        self.metadata = dict(context.invocation_metadata() or ())
        self._context = context
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        self._ending: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()

    async def hear(self) -> Any:
        """The next frame of the client; None when it half-closes or leaves."""
        async with asyncio.timeout(TIMEOUT_S):
            return await io_thread().call(self._heard.get())

    async def hear_until(self, wanted: Callable[[Any], bool]) -> Any:
        """The first frame that the test waits for; fails if the client leaves before."""
        while (frame := await self.hear()) is not None:
            if wanted(frame):
                return frame
        raise AssertionError("the client left")

    async def say(self, frame: Any) -> None:
        """Send a frame."""
        await io_thread().call(self._context.write(frame))

    async def end(self, refusal: Refusal | None = None) -> None:
        """End the stream, in good order or with a status."""
        io_thread().loop.call_soon_threadsafe(self.refuse, refusal)

    def refuse(self, refusal: Refusal | None) -> None:
        """End it; on the I/O thread."""
        if not self._ending.done():
            self._ending.set_result(refusal)

    # On the I/O thread.

    async def hold(self, *, is_bidirectional: bool) -> None:
        """The handler of the stream."""
        reader = asyncio.create_task(self._read()) if is_bidirectional else None
        try:
            refusal = await self._ending
        finally:
            self._heard.put_nowait(None)
            if reader is not None:
                reader.cancel()
        if refusal is not None:
            self._context.set_trailing_metadata(refusal.metadata())
            await self._context.abort(refusal.code, refusal.message)

    async def _read(self) -> None:
        while (frame := await self._context.read()) is not grpc.aio.EOF:
            self._heard.put_nowait(frame)
        self.refuse(None)


class FakeServer:
    """Start it with `fake_server()`."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.refusals: dict[str, Refusal] = {}
        """Streams that end at once, each time a client tries.

        A client whose first write meets the end of its stream may be told
        INTERNAL by grpc.aio instead of the status, and then tries again.
        """
        self.requests: defaultdict[str, list[Any]] = defaultdict(list)
        self._server: grpc.aio.Server | None = None
        self._conversations: defaultdict[str, asyncio.Queue[Conversation]] = defaultdict(asyncio.Queue)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def conversation(self, method: str) -> Conversation:
        """The next stream that a client opens, of `Connect`, `StreamTasks`, `WatchTasks`."""
        async with asyncio.timeout(TIMEOUT_S):
            return await io_thread().call(self._conversations[method].get())

    def has_conversation(self, method: str) -> bool:
        """Whether a client has opened a stream that the test has not taken."""
        return not self._conversations[method].empty()

    async def start(self) -> None:
        """Listen: on a free port first, on the same one when started again."""
        await io_thread().call(self._start())

    async def stop(self) -> None:
        """As a server that dies: streams break."""
        await io_thread().call(self._stop())

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers(tuple(self._handlers(service) for service in SERVICES))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def _handlers(self, service: ServiceDescriptor) -> grpc.GenericRpcHandler:
        handlers = {}
        for method in service.methods:
            decode = message_factory.GetMessageClass(method.input_type).FromString
            encode = _encode
            if not method.server_streaming:
                make, behaviour = grpc.unary_unary_rpc_method_handler, self._unary(method.name)
            elif method.client_streaming:
                make, behaviour = grpc.stream_stream_rpc_method_handler, self._bidirectional(method.name)
            else:
                make, behaviour = grpc.unary_stream_rpc_method_handler, self._server_stream(method.name)
            handlers[method.name] = make(behaviour, request_deserializer=decode, response_serializer=encode)
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _unary(self, name: str) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            self.requests[name].append(request)
            try:
                return self.answers[name](request)
            except Refusal as refusal:
                context.set_trailing_metadata(refusal.metadata())
                return await context.abort(refusal.code, refusal.message)

        return answer

    def _bidirectional(self, name: str) -> Any:
        async def hold(_: Any, context: Any) -> None:
            conversation = Conversation(context)
            if name in self.refusals:
                conversation.refuse(self.refusals[name])
            else:
                self._conversations[name].put_nowait(conversation)
            await conversation.hold(is_bidirectional=True)

        return hold

    def _server_stream(self, name: str) -> Any:
        async def hold(request: Any, context: Any) -> None:
            conversation = Conversation(context, request)
            self._conversations[name].put_nowait(conversation)
            await conversation.hold(is_bidirectional=False)

        return hold


def _encode(frame: Any) -> bytes:
    """The bytes of a message; bytes are sent as they are, for what is no message at all."""
    return frame if isinstance(frame, bytes) else frame.SerializeToString()


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """A fake server on a free port."""
    server = FakeServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
