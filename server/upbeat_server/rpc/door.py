"""The door of a server: what all its calls share, and each method with what is looked up once.

Every method takes bytes, so that what cannot be parsed is refused by us: sizes
first, then the counts of a large message, then the parser. A request of a type
that can hold no payload may not be large at all.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from upbeat_server.engine import reasons
from upbeat_server.rpc import wire
from upbeat_server.rpc.identity import Authenticator, OpenDoor, Role
from upbeat_server.runtime.refused import refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

    from upbeat_server.telemetry.calls import CallMetrics, MethodMetrics
    from upbeat_server.telemetry.tracer import Tracer

MESSAGE_BYTES_MAX: Final = 8 << 20
"""The largest request or frame that is taken; grpc itself refuses more."""
ANSWER_BYTES_MAX: Final = 16 << 20
"""The largest that is sent: a step may have 6 MiB of input and context, and 4 MiB of output."""
PLAIN_BYTES_MAX: Final = 64 << 10
"""The largest request of a type that can hold no payload."""

WRITE_PATIENCE_S: Final = 30.0

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class Servicer(Protocol):
    """A service: its contract, the role that each RPC needs, and a coroutine for each in snake_case."""

    @property
    def descriptor(self) -> ServiceDescriptor:
        """The service in the contract."""

    @property
    def roles(self) -> Mapping[str, Role | None]:
        """The role that each RPC needs, by its name as it is or in snake_case; None: anybody may call."""


class Door:
    """What all calls of a server share."""

    def __init__(
        self,
        authenticator: Authenticator | None = None,
        metrics: CallMetrics | None = None,
        write_patience_s: float = WRITE_PATIENCE_S,
    ) -> None:
        self.authenticator: Authenticator = authenticator or OpenDoor()
        self.metrics = metrics
        self.tracer: Tracer | None = None  # Set where unary calls are traced.
        self.write_patience_s = write_patience_s  # For one message of a stream to be taken.
        self.draining = False  # Then only short calls that change nothing are let in.
        self.closed = False  # Then none are.
        self._running: dict[asyncio.Task[Any], None] = {}  # In the order in which they began.

    def enter(self) -> asyncio.Task[Any] | None:
        """A call begins; give the answer to ``leave``."""
        task = asyncio.current_task()
        if task is not None:
            self._running[task] = None
        return task

    def leave(self, task: asyncio.Task[Any] | None) -> None:
        """A call is over."""
        if task is not None:
            self._running.pop(task, None)

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
        self.rpc = descriptor.name
        self.name = f"{self.service}/{self.rpc}"
        snake = snake_case(descriptor.name)
        self.call: Callable[..., Awaitable[Any]] = getattr(servicer, snake)
        self.role = servicer.roles[descriptor.name if descriptor.name in servicer.roles else snake]
        self.streams_in = descriptor.client_streaming
        self.streams_out = descriptor.server_streaming
        self.metrics: MethodMetrics | None = None
        if door.metrics is not None:
            kind = "bidi_stream" if self.streams_in else "server_stream" if self.streams_out else "unary"
            self.metrics = door.metrics.of_method(kind, self.service, descriptor.name)
        self._parse = GetMessageClass(descriptor.input_type).FromString
        self._plan = wire.plan_of(descriptor.input_type)
        self.bytes_max = MESSAGE_BYTES_MAX if _holds_bytes(descriptor.input_type, set()) else PLAIN_BYTES_MAX

    @property
    def is_traced(self) -> bool:
        """Whether its calls have spans: ours, and those alone that are no streams."""
        return self.service.startswith("upbeat.") and not (self.streams_in or self.streams_out)

    @property
    def survives_draining(self) -> bool:
        """Whether new calls are let in while the server stops: short ones that change nothing."""
        return self.role is None or (self.role is Role.VIEWER and not self.streams_out)

    def decode(self, message: bytes) -> Any:
        """The message as an object. Raises Refused."""
        if self.metrics is not None:
            self.metrics.received += 1
        if len(message) > self.bytes_max:
            raise refused(
                reasons.MESSAGE_TOO_LARGE,
                f"the message has {len(message):,} bytes; the limit of this call is {self.bytes_max:,}",
                bytes_max=str(self.bytes_max),
            )
        if len(message) > wire.SCAN_FREE_BYTES:
            wire.check(message, self._plan)
        try:
            return self._parse(message)
        except DecodeError as error:
            raise wire.malformed(str(error)) from None


def snake_case(name: str) -> str:
    """``SubmitTask`` as ``submit_task``."""
    return _WORD_START.sub("_", name).lower()


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
