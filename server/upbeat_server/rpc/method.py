"""One call: admits it, decodes it, runs the servicer, and turns its end into a status.

Every method takes and answers bytes, so that what cannot be parsed is refused
by us. Rules: a servicer raises ``Refused`` and nothing else on purpose; any
other exception is a defect, logged under an id that the caller gets instead of
its text. Nothing here lets a CancelledError out: grpc would leave the caller
waiting for ever. The servicer's cleanup runs before the status is sent, because
sending it may wait for a slow peer.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from upbeat_server.clock import incident_id, stopwatch_s
from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.rpc import wire
from upbeat_server.rpc.identity import Authenticator, Identity, OpenDoor, Role
from upbeat_server.rpc.refusals import code_of, printable, status_of
from upbeat_server.runtime.refused import SERVER_DRAINING, Refused, invalid, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

    from upbeat_server.telemetry.calls import CallMetrics, MethodMetrics

log = structlog.get_logger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]

MESSAGE_BYTES_MAX: Final = 8 << 20
"""The largest message at all; grpc itself refuses more."""
PLAIN_BYTES_MAX: Final = 64 << 10
"""The largest request of a type that can hold no payload."""
DEFAULT_NAMESPACE: Final = "default"

_CALLER_LEFT = Refusal(reasons.CALL_CANCELLED, "the caller went away")
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class Servicer(Protocol):
    """A service: its contract, the role that each RPC needs, and a coroutine for each in snake_case."""

    @property
    def descriptor(self) -> ServiceDescriptor:
        """The service in the contract."""

    @property
    def roles(self) -> Mapping[str, Role | None]:
        """The role that each RPC needs, by its name as it is or in snake_case; None: anybody may call."""


class PlainStatus(Exception):
    """Ends a call of a standard protocol whose errors carry no reason of ours."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PeerGone(Exception):
    """The other side of a stream is gone; ends the call without a status."""


class Door:
    """What all calls of a server share."""

    def __init__(
        self, authenticator: Authenticator | None = None, metrics: CallMetrics | None = None
    ) -> None:
        self.authenticator: Authenticator = authenticator or OpenDoor()
        self.metrics = metrics
        self.draining = False  # Then only short calls that change nothing are let in.
        self.closed = False  # Then none are.
        self._running: set[asyncio.Task[Any]] = set()

    def enter(self) -> asyncio.Task[Any] | None:
        """A call begins; give the answer to ``leave``."""
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        return task

    def leave(self, task: asyncio.Task[Any] | None) -> None:
        """A call is over."""
        if task is not None:
            self._running.discard(task)

    def close(self) -> None:
        """Let nothing in any more, and end the calls that nothing else ended with DRAINING."""
        self.draining = self.closed = True
        for task in self._running:
            task.cancel()


class Method:
    """One method of a service, with everything that is looked up once."""

    def __init__(self, door: Door, servicer: Servicer, descriptor: MethodDescriptor) -> None:
        self.door = door
        self.service = descriptor.containing_service.full_name
        self.name = f"{self.service}/{descriptor.name}"
        snake = snake_case(descriptor.name)
        self.call: Callable[..., Awaitable[Any]] = getattr(servicer, snake)
        self.role = servicer.roles[descriptor.name if descriptor.name in servicer.roles else snake]
        self.streams_in = descriptor.client_streaming
        self.streams_out = descriptor.server_streaming
        self.metrics: MethodMetrics | None = None
        if door.metrics is not None:
            kind = f"{'bidi_stream' if self.streams_in else 'server_stream' if self.streams_out else 'unary'}"
            self.metrics = door.metrics.of_method(kind, self.service, descriptor.name)
        self._parse = GetMessageClass(descriptor.input_type).FromString
        self._plan = wire.plan_of(descriptor.input_type)
        self.bytes_max = MESSAGE_BYTES_MAX if _holds_bytes(descriptor.input_type, set()) else PLAIN_BYTES_MAX

    @property
    def survives_draining(self) -> bool:
        """Whether new calls are let in while the server stops: short ones that change nothing."""
        return self.role is None or (self.role is Role.VIEWER and not self.streams_out)

    def decode(self, message: bytes) -> Any:
        """The message as an object. Raises Refused."""
        if self.metrics is not None:
            self.metrics.received.inc()
        if len(message) > self.bytes_max:
            raise refused(
                reasons.MESSAGE_TOO_LARGE,
                f"the message has {len(message):,} bytes; the limit of this call is {self.bytes_max:,}",
                bytes_max=str(self.bytes_max),
            )
        wire.check(message, self._plan)
        try:
            return self._parse(message)
        except DecodeError as error:
            raise wire.malformed(str(error)) from None


class Call:
    """One call, as a servicer sees it."""

    def __init__(self, method: Method, context: Context) -> None:
        self.method = method
        self.context = context
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

    def remaining_s(self) -> float | None:
        """Seconds until the caller's deadline; None if it set none."""
        remaining: float | None = self.context.time_remaining()
        return remaining

    def _admit(self) -> Identity:
        method = self.method
        if method.door.closed:
            raise Refused(SERVER_DRAINING)
        if method.role is None:
            return OpenDoor().identify(None)
        identity = method.door.authenticator.identify(_authorization(self.context))
        if method.role not in identity.roles:
            raise refused(
                reasons.ROLE_INSUFFICIENT,
                f"this call needs the role {method.role.value}; the token {identity.name!r} has "
                + ", ".join(sorted(role.value for role in identity.roles)),
                role=method.role.value,
            )
        if method.door.draining and not method.survives_draining:
            raise Refused(SERVER_DRAINING)
        return identity


class Stream(Call):
    """A call with a stream of messages out, and perhaps one in.

    One reader and one writer at a time. Never cancel a ``read`` that is still
    wanted: grpc loses the message.
    """

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
        return self.method.decode(message) if isinstance(message, bytes) else None

    async def write(self, message: Message | bytes) -> None:
        """Send a message; returns when the transport took it. Raises PeerGone."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        try:
            await self.context.write(data)
        except grpc.aio.BaseError as error:
            raise PeerGone(str(error)) from None
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            raise PeerGone("the call was cancelled") from None
        if self.method.metrics is not None:
            self.method.metrics.sent.inc()


def rpc_handler(method: Method) -> Any:
    """The method as grpc wants it."""
    if method.streams_in and not method.streams_out:
        raise ValueError(f"{method.name}: calls that only stream in are not part of the contract")
    if method.streams_in:
        return grpc.stream_stream_rpc_method_handler(_stream_stream(method))
    if method.streams_out:
        return grpc.unary_stream_rpc_method_handler(_unary_stream(method))
    return grpc.unary_unary_rpc_method_handler(_unary_unary(method))


def snake_case(name: str) -> str:
    """``SubmitTask`` as ``submit_task``."""
    return _WORD_START.sub("_", name).lower()


def _unary_unary(method: Method) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def serve(data: bytes, context: Context) -> bytes:
        async def answer() -> bytes:
            call = Call(method, context)
            response = await method.call(method.decode(data), call)
            if method.metrics is not None:
                method.metrics.sent.inc()
            answered: bytes = response.SerializeToString()
            return answered

        return await _conclude(method, context, answer) or b""

    return serve


def _unary_stream(method: Method) -> Callable[[bytes, Context], Awaitable[None]]:
    async def serve(data: bytes, context: Context) -> None:
        async def answer() -> None:
            stream = Stream(method, context)
            await method.call(method.decode(data), stream)

        await _conclude(method, context, answer)

    return serve


def _stream_stream(method: Method) -> Callable[[object, Context], Awaitable[None]]:
    async def serve(_requests: object, context: Context) -> None:
        async def answer() -> None:
            await method.call(Stream(method, context))

        await _conclude(method, context, answer)

    return serve


async def _conclude(
    method: Method, context: Context, answer: Callable[[], Awaitable[bytes | None]]
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
    if refusal is not None:
        await _abort(method, context, refusal)
    return answered


async def _abort(method: Method, context: Context, refusal: Refusal | PlainStatus) -> None:
    try:
        if isinstance(refusal, PlainStatus):
            await context.abort(refusal.code, printable(refusal.message, 512))
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


def _authorization(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else None
    return None


def _holds_bytes(descriptor: Descriptor, seen: set[str]) -> bool:
    """Whether a message of this type can hold a payload anywhere."""
    if descriptor.full_name in seen:
        return False
    seen.add(descriptor.full_name)
    return any(
        field.type == field.TYPE_BYTES
        or (field.message_type is not None and _holds_bytes(field.message_type, seen))
        for field in descriptor.fields
    )
