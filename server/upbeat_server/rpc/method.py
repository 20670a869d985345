"""One call: admits it, runs the servicer, and turns its end into a status.

Rules: a servicer raises ``Refused`` and nothing else on purpose; any
other exception is a defect, logged under an id that the caller gets instead of
its text. Nothing here lets a CancelledError out: grpc would leave the caller
waiting for ever. The servicer's cleanup runs before the status is sent, because
sending it may wait for a slow peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import structlog
from grpc_status import rpc_status

from upbeat_server.clock import incident_id, stopwatch_s
from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.rpc.identity import ANONYMOUS, Identity, Role
from upbeat_server.rpc.patience import Patience
from upbeat_server.rpc.refusals import MESSAGE_BYTES_MAX, code_of, printable, status_of
from upbeat_server.runtime.refused import SERVER_DRAINING, Refused, invalid, refused
from upbeat_server.telemetry.trace_context import read_traceparent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from upbeat_server.rpc.door import Method
    from upbeat_server.telemetry.call_spans import CallSpan

log = structlog.get_logger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]

DEFAULT_NAMESPACE: Final = "default"
AUTHORIZATION: Final = "authorization"
TRACEPARENT: Final = "traceparent"

_CALLER_LEFT = Refusal(reasons.CALL_CANCELLED, "the caller went away")
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class PlainStatus(Exception):
    """Ends a call of a standard protocol whose errors carry no reason of ours."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PeerGone(Exception):
    """The other side of a stream is gone; ends the call without a status."""


class Call:
    """One call, as a servicer sees it."""

    def __init__(self, method: Method, context: Context, span: CallSpan | None = None) -> None:
        self.method = method
        self.context = context
        self.span = span  # Of a unary call that is traced.
        self.identity: Identity = self._admit()

    @property
    def peer(self) -> str:
        """Where the call comes from, as grpc writes it: ``ipv4:127.0.0.1:4711``."""
        return self.context.peer()

    def namespace(self, wanted: str) -> str:
        """The namespace that the call acts in; "" is the default one. Raises Refused."""
        namespace = wanted or DEFAULT_NAMESPACE
        if _NAMESPACE.fullmatch(namespace) is None:
            raise invalid(
                "namespace",
                "must be 1 to 63 characters of [A-Za-z0-9_.-], the first one a letter or digit",
            )
        if not self.identity.may_enter(namespace):
            raise refused(
                reasons.ROLE_INSUFFICIENT,
                f"the token {self.identity.name!r} does not give access to the namespace {namespace!r}",
                namespace=namespace,
            )
        return namespace

    @property
    def traceparent(self) -> str:
        """What a task of this call is traced by: its span, or what came beside it; "" for neither."""
        if self.span is not None:
            return self.span.traceparent
        came = _header(self.context, TRACEPARENT)
        return came if came and read_traceparent(came) else ""

    def remaining_s(self) -> float | None:
        """Seconds until the caller's deadline; None if it set none."""
        remaining: float | None = self.context.time_remaining()
        return remaining

    def identify(self, token: str, role: Role) -> None:
        """Who calls, where that stands in the message: for protocols whose callers cannot send metadata.

        For methods without a role. An empty token leaves it to the metadata after all. Raises Refused.
        """
        authorization = f"Bearer {token}" if token else _header(self.context, AUTHORIZATION)
        self.identity = self._identified(authorization, role)

    def _admit(self) -> Identity:
        method = self.method
        if method.door.closed:
            raise Refused(SERVER_DRAINING)
        if method.role is None:
            return ANONYMOUS
        identity = self._identified(_header(self.context, AUTHORIZATION), method.role)
        if method.door.draining and not method.survives_draining:
            raise Refused(SERVER_DRAINING)
        return identity

    def _identified(self, authorization: str | None, role: Role) -> Identity:
        identity = self.method.door.authenticator.identify(authorization)
        if role not in identity.roles:
            raise refused(
                reasons.ROLE_INSUFFICIENT,
                f"this call needs the role {role.value}; the token {identity.name!r} has "
                + ", ".join(sorted(granted.value for granted in identity.roles)),
                role=role.value,
            )
        return identity


class Stream(Call):
    """A call with a stream of messages out, and perhaps one in.

    One reader and one writer at a time. Never cancel a ``read`` that is still
    wanted: grpc loses the message.
    """

    def __init__(self, method: Method, context: Context) -> None:
        super().__init__(method, context)
        self.bytes_read = 0  # Of the last message.
        self._opening: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._patience = Patience(self._loop, method.door.write_patience_s)

    async def read(self) -> Any:
        """The next message; None at the end. Raises Refused for one that cannot be taken."""
        try:
            message: object = await self.context.read()
        except grpc.aio.BaseError:  # The call is over already; its end is the end of the stream.
            return None
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            return None
        if not isinstance(message, bytes):
            return None
        self.bytes_read = len(message)
        return self.method.decode(message)

    async def write(self, message: Message | bytes) -> None:
        """Send a message; returns when the transport took it.

        Raises PeerGone, and Refused (SLOW_READER) when the peer lets it wait for too long: what its windows
        do not let through is held in memory, here and in grpc.
        """
        data = message if isinstance(message, bytes) else message.SerializeToString()
        patience = self._patience
        patience.begin(asyncio.current_task(self._loop))
        try:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open())
                await asyncio.shield(self._opening)
            await self.context.write(data)
        except grpc.aio.BaseError as error:
            raise PeerGone(str(error)) from None
        except asyncio.CancelledError:
            if patience.end():
                raise refused(
                    reasons.SLOW_READER,
                    f"this stream was not read for {patience.seconds:g} s and is given up: "
                    "open another and resume",
                ) from None
            if _is_cancelled():
                raise
            raise PeerGone("the call was cancelled") from None
        finally:
            patience.end()
        if self.method.metrics is not None:
            self.method.metrics.sent += 1

    async def close(self) -> None:
        """End the writing, and wait until the initial metadata are out, if they are under way.

        A status sent meanwhile would carry them too, which grpc's core refuses: the call would never end.
        No window of the peer holds them back, unlike a message.
        """
        self._patience.close()
        if self._opening is not None and not self._opening.done():
            await asyncio.wait((self._opening,))

    async def _open(self) -> None:
        # A peer that is gone is learned of by the write.
        with contextlib.suppress(grpc.aio.BaseError):
            await self.context.send_initial_metadata(())


def rpc_handler(method: Method) -> Any:
    """The method as grpc wants it."""
    if method.streams_in and not method.streams_out:
        raise ValueError(f"{method.name}: calls that only stream in are not part of the contract")
    if method.streams_in:
        return grpc.stream_stream_rpc_method_handler(_stream_stream(method))
    if method.streams_out:
        return grpc.unary_stream_rpc_method_handler(_unary_stream(method))
    return grpc.unary_unary_rpc_method_handler(_unary_unary(method))


def _unary_unary(method: Method) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def serve(data: bytes, context: Context) -> bytes:
        tracer = method.door.tracer
        span: CallSpan | None = None
        if tracer is not None and method.is_traced:
            span = tracer.call_began(method.service, method.rpc, _header(context, TRACEPARENT) or "")

        async def answer() -> bytes:
            call = Call(method, context, span)
            response = await method.call(method.decode(data), call)
            if method.metrics is not None:
                method.metrics.sent += 1
            answered: bytes = response.SerializeToString()
            return answered

        return await _conclude(method, context, answer, span) or b""

    return serve


def _unary_stream(method: Method) -> Callable[[bytes, Context], Awaitable[None]]:
    async def serve(data: bytes, context: Context) -> None:
        async def answer() -> None:
            stream = Stream(method, context)
            try:
                await method.call(method.decode(data), stream)
            finally:
                await stream.close()

        await _conclude(method, context, answer)

    return serve


def _stream_stream(method: Method) -> Callable[[object, Context], Awaitable[None]]:
    async def serve(_requests: object, context: Context) -> None:
        async def answer() -> None:
            stream = Stream(method, context)
            try:
                await method.call(stream)
            finally:
                await stream.close()

        await _conclude(method, context, answer)

    return serve


async def _conclude(
    method: Method,
    context: Context,
    answer: Callable[[], Awaitable[bytes | None]],
    span: CallSpan | None = None,
) -> bytes | None:
    """Run the servicer; end the call with a status unless it simply answered."""
    metrics = method.metrics
    began_s = stopwatch_s()
    if metrics is not None:
        metrics.started()
    refusal: Refusal | PlainStatus | None = None
    code = grpc.StatusCode.OK
    answered: bytes | None = None
    running = method.door.enter()
    try:
        answered = await answer()
    except Refused as error:
        refusal = error.refusal
    except PlainStatus as error:
        refusal = error
    except PeerGone:
        code = grpc.StatusCode.CANCELLED
    except asyncio.CancelledError as error:
        # Status or not, it is sent below: grpc does not say whether the peer is still there.
        if method.door.draining:
            refusal = SERVER_DRAINING
        elif _is_cancelled():
            refusal = _CALLER_LEFT
        else:
            refusal = _defect(method, error)
    except Exception as error:
        refusal = _defect(method, error)
    finally:
        method.door.leave(running)
    if isinstance(refusal, PlainStatus):
        code = refusal.code
    elif refusal is not None:
        code = code_of(refusal)
    if metrics is not None:
        metrics.handled(code.name, stopwatch_s() - began_s)
    if span is not None:
        span.ended(code.name, code.value[0])
    if refusal is not None:
        await _abort(method, context, refusal)
    return answered


async def _abort(method: Method, context: Context, refusal: Refusal | PlainStatus) -> None:
    try:
        if isinstance(refusal, PlainStatus):
            await context.abort(refusal.code, printable(refusal.message, MESSAGE_BYTES_MAX))
        status = rpc_status.to_status(status_of(refusal))
        await context.abort(status.code, status.details, status.trailing_metadata)
    except grpc.aio.AbortError:
        raise  # How grpc learns that the status is sent.
    except asyncio.CancelledError:
        pass  # The peer left, or the server stops, while the status was under way.
    except Exception as error:
        if not _is_cancelled():
            log.debug("status_not_sent", method=method.name, error=repr(error))


def _is_cancelled() -> bool:
    """Whether the running task was cancelled, not just something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _defect(method: Method, error: BaseException) -> Refusal:
    incident = incident_id()
    log.error("call_failed", method=method.name, incident=incident, exc_info=error)
    return Refusal(
        reasons.INTERNAL,
        f"a defect of the server; its log has it under {incident}",
        {"incident": incident},
    )


def _header(context: Context, name: str) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else None
    return None
