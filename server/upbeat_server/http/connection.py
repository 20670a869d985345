"""Connections of HTTP/1.1 within bounds: a caller who does not go on does not keep one.

uvicorn waits as long as the caller likes for the head of a request, for a body that nobody reads and for an
answer to be taken. Here a connection that waits for its caller has a deadline, and where there are as many
as are held at once a new one takes the place of the one that waits longest. What is being answered is
never cut off for a new one: how many calls and streams that can be is bounded by the gateway, well below.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from upbeat_server.http.errors import HttpError

if TYPE_CHECKING:
    import asyncio

CONNECTIONS_MAX: Final = 1_024
HEAD_S: Final = 15.0
"""For the head of a request to arrive in, after the connection or the answer before."""
STALL_S: Final = 30.0
"""For a caller to take ``STALL_BYTES`` of what is written, or all of the rest."""
STALL_BYTES: Final = 64 << 10
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Crowd:
    """The connections of a server, and which of them wait for their callers, the longest first."""

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}

    def enter(self, connection: Connection) -> None:
        """Hold one more; where that is one too many, one that waits for its caller ends."""
        self._connections.add(connection)
        self.wait(connection)
        if len(self._connections) > CONNECTIONS_MAX:
            longest = next(iter(self._waiting))
            self.leave(longest)
            longest.abort()

    def leave(self, connection: Connection) -> None:
        """Hold it no more. Idempotent."""
        self._connections.discard(connection)
        self._waiting.pop(connection, None)

    def wait(self, connection: Connection) -> None:
        """It waits for its caller from now on."""
        self._waiting.pop(connection, None)
        if connection in self._connections:
            self._waiting[connection] = None

    def go_on(self, connection: Connection) -> None:
        """It waits no more."""
        self._waiting.pop(connection, None)


class Connection(H11Protocol):
    """One of them."""

    def __init__(self, crowd: Crowd, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._crowd = crowd
        self._deadline: asyncio.TimerHandle | None = None
        self._unread_bytes = 0  # When the deadline was set.

    @property
    def is_answering(self) -> bool:
        """Whether a request has arrived whose answer is not complete."""
        return not getattr(self.cycle, "response_complete", True)  # None before the first request.

    def abort(self) -> None:
        """End it at once; what is still to be sent is dropped, by the system too."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._crowd.enter(self)
        self._expect(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._go_on()
        self._crowd.leave(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take what has arrived; the deadline of a head holds until there is all of it."""
        super().handle_events()
        if self.is_answering and not self.flow.write_paused:
            self._go_on()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest to be taken before it is closed."""
        super().on_response_complete()
        if not self.is_answering:
            is_unread = self.transport.is_closing() or self.flow.write_paused
            self._wait(STALL_S if is_unread else HEAD_S)

    def pause_writing(self) -> None:
        """Wait for the caller to read."""
        super().pause_writing()
        self._wait(STALL_S)

    def resume_writing(self) -> None:
        """The caller has read; nothing is waited for if there is more to come."""
        super().resume_writing()
        if self.is_answering:
            self._go_on()

    def timeout_keep_alive_handler(self) -> None:
        """Close it; what the caller has not taken yet is waited for."""
        if not self.transport.is_closing():
            super().timeout_keep_alive_handler()
            self._wait(STALL_S)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP in the shape of every error, and close."""
        error = HttpError(400, "INVALID_ARGUMENT", msg.lower().removesuffix(".")).response
        head = h11.Response(
            status_code=error.status_code, headers=[*error.raw_headers, (b"connection", b"close")]
        )
        with contextlib.suppress(h11.LocalProtocolError):  # It is being answered already.
            for part in (head, h11.Data(data=bytes(error.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(part) or b"")
        self.transport.close()
        self._wait(STALL_S)

    def _wait(self, seconds: float) -> None:
        self._crowd.wait(self)
        self._expect(seconds)

    def _expect(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._deadline = self.loop.call_later(seconds, self._pass_deadline)

    def _go_on(self) -> None:
        self._crowd.go_on(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _pass_deadline(self) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        if 0 < unread_bytes <= self._unread_bytes - STALL_BYTES:
            self._expect(STALL_S)
        else:
            self.abort()
