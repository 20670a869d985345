"""One RPC over HTTP: a request becomes its message, its door is called, its answer becomes JSON."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import grpc
import msgspec
from google.protobuf.message_factory import GetMessageClass
from starlette.datastructures import Headers

from upbeat_server.http.body import expect_no_body
from upbeat_server.http.caller import Caller
from upbeat_server.http.errors import send_json
from upbeat_server.http.event_stream import KEEP_ALIVE_S, LAST_EVENT_ID, OPEN_S, RESUMED_FROM, EventStream
from upbeat_server.http.message_writer import writer_of
from upbeat_server.http.request_reader import Asked, RequestReader
from upbeat_server.rpc.door import MESSAGE_BYTES_MAX, Method
from upbeat_server.rpc.method import rpc_handler
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.descriptor import MethodDescriptor
    from starlette.types import Receive, Scope, Send

    from upbeat_server.http.body import BodyReader
    from upbeat_server.http.message_reader import MessageReader
    from upbeat_server.http.message_writer import MessageWriter
    from upbeat_server.http.rule import Rule

LARGE_BYTES: Final = 128 << 10
"""A body of this size is read in a thread: a megabyte of JSON takes 50 ms and more."""
END_S: Final = 2.0
"""For the end of a stream to be taken by a caller who does not read."""


class HttpMethod(Method):
    """A method whose messages come from JSON; what was wrong with it is told once the call is admitted."""

    def decode(self, message: Any) -> Any:
        """The message as an object. Raises Refused."""
        if isinstance(message, Refused):
            if self.metrics is not None:
                self.metrics.received += 1
            raise message
        return super().decode(message)


class Codecs(msgspec.Struct):
    """Readers and writers that endpoints share, by the full name of their type."""

    readers: dict[str, MessageReader] = msgspec.field(default_factory=dict)
    writers: dict[str, MessageWriter] = msgspec.field(default_factory=dict)


class Endpoint:
    """Serves one RPC."""

    def __init__(self, method: HttpMethod, descriptor: MethodDescriptor, rule: Rule, codecs: Codecs) -> None:
        self.method = method
        self.descriptor = descriptor
        self.rule = rule
        self.streams = descriptor.server_streaming
        self._serve: Callable[[Any, Any], Awaitable[Any]] = _function_of(method)
        self._reader = RequestReader(descriptor.input_type, codecs.readers)
        self._writer = writer_of(descriptor.output_type, codecs.writers)
        self._parse = GetMessageClass(descriptor.output_type).FromString

    @property
    def body_bytes_max(self) -> int:
        """The largest body: base64 and names take more room than the message."""
        return self.method.bytes_max * (3 if self.method.bytes_max == MESSAGE_BYTES_MAX else 4) // 2

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        bodies: BodyReader,
        variables: list[tuple[str, str]],
    ) -> None:
        """Answer a request, with an error too. Raises HttpError for what is wrong with its body."""
        body = b""
        if self.rule.takes_body and self._knows_caller(scope):
            body = await bodies.read(scope, receive, self.body_bytes_max)
        elif not self.rule.takes_body:
            expect_no_body(scope)
        asked = Asked(body, scope["query_string"].decode("latin-1"), variables, self._resumed(scope))
        if len(body) > LARGE_BYTES:
            request = await asyncio.to_thread(self._reader.read, asked)
        else:
            request = self._reader.read(asked)
        if self.streams:
            await self._stream(scope, receive, send, request)
        else:
            await self._answer(scope, receive, send, request)

    def _knows_caller(self, scope: Scope) -> bool:
        """Whether the door will admit the caller; the body of anybody else is not worth reading."""
        try:
            self.method.door.authenticator.identify(Headers(scope=scope).get("authorization"))
        except Refused:
            return False
        return True

    def _resumed(self, scope: Scope) -> list[tuple[str, str]]:
        """What a browser that reconnects sets over the query of its first request."""
        if not self.streams or not self._reader.has_field(RESUMED_FROM):
            return []
        last = Headers(scope=scope).get(LAST_EVENT_ID)
        return [(RESUMED_FROM, last)] if last else []

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request: bytes | Refused) -> None:
        caller = Caller(scope)
        call = asyncio.create_task(self._called(request, caller))
        left = asyncio.create_task(_left(receive))
        try:
            await _first_of(call, left)
        finally:
            left.cancel()
            await _end(call)
        if caller.error is not None:
            await caller.error.send(send)
        elif not call.cancelled():
            await send_json(send, await self._writer.write(self._parse(call.result())))

    async def _stream(self, scope: Scope, receive: Receive, send: Send, request: bytes | Refused) -> None:
        events = EventStream(send, self.descriptor.output_type, self._writer)
        caller = Caller(scope, events)
        call = asyncio.create_task(self._called(request, caller))
        left = asyncio.create_task(_left(receive))
        try:
            silence_s = OPEN_S
            while not await _first_of(call, left, silence_s):
                await events.keep_alive()
                silence_s = KEEP_ALIVE_S
        finally:
            is_left = left.done()
            left.cancel()
            await _end(call)
        if not is_left:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await events.end(caller.error)

    async def _called(self, request: bytes | Refused, caller: Caller) -> bytes:
        """Run the door; the message that it answers with, empty for a stream and for an error."""
        with contextlib.suppress(grpc.aio.AbortError):  # The caller has the error.
            answered: bytes | None = await self._serve(request, caller)
            return answered or b""
        return b""


async def _first_of(
    call: asyncio.Task[bytes], left: asyncio.Task[None], timeout_s: float | None = None
) -> bool:
    """Wait until one of them is over; False after the timeout."""
    done, _ = await asyncio.wait((call, left), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


async def _end(call: asyncio.Task[bytes]) -> None:
    """Cancel a call whose caller has left; the door lets nothing out, and cleans up before it ends."""
    if not call.done():
        call.cancel()
        await asyncio.wait((call,))


async def _left(receive: Receive) -> None:
    """Return when the caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _function_of(method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
    """What grpc would run for a call."""
    handler = rpc_handler(method)
    function: Callable[[Any, Any], Awaitable[Any]] = handler.unary_unary or handler.unary_stream
    return function
