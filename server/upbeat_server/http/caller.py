"""The caller of an RPC who speaks HTTP, as the doors of ``rpc`` know a caller of grpc.

The gateway runs the very function that grpc would run (``rpc.method``), with this in
place of grpc's context: identities, sizes, metrics, defects and refusals are one code.
Another hop through grpc would cost 400 us a call, a second connection to look after, and
the caller's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
from google.rpc import status_pb2

from upbeat_server.http.errors import HttpError, error_of_code, error_of_status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope

    from upbeat_server.http.event_stream import EventStream

DETAILS: Final = "grpc-status-details-bin"
_HANDED_ON: Final = frozenset((b"authorization", b"traceparent", b"tracestate", b"user-agent"))


class Caller:
    """What of ``grpc.aio.ServicerContext`` the doors use."""

    def __init__(self, scope: Scope, events: EventStream | None = None) -> None:
        self._scope = scope
        self._events = events
        self.error: HttpError | None = None  # What the call ended with, unless it was answered.

    def peer(self) -> str:
        """Its address, as grpc writes it."""
        host, port = self._scope.get("client") or ("unknown", 0)
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def time_remaining(self) -> None:
        """There are no deadlines over HTTP: who has waited enough leaves."""

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """Its headers, as far as calls look at them."""
        headers: Iterable[tuple[bytes, bytes]] = self._scope["headers"]
        return [(name.decode(), value.decode("latin-1")) for name, value in headers if name in _HANDED_ON]

    async def send_initial_metadata(self, _metadata: object) -> None:
        """Headers go out with the first event."""

    async def write(self, message: bytes) -> None:
        """Send a message of a stream; returns when the transport took it."""
        if self._events is None:
            raise grpc.aio.UsageError("this call does not stream")
        await self._events.send(message)

    async def abort(self, code: grpc.StatusCode, message: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with a status. Raises AbortError, as grpc does."""
        packed = dict(trailing_metadata or ()).get(DETAILS)
        self.error = (
            error_of_code(code, message)
            if packed is None
            else error_of_status(status_pb2.Status.FromString(packed))
        )
        raise grpc.aio.AbortError
