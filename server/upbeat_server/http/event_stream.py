"""A stream of messages as server-sent events.

``data`` is a message as JSON, ``id`` the revision to resume from where the message has
one; a browser sends it back as ``Last-Event-ID``. A comment goes out where nothing else
did for a while, so that proxies keep the connection. An ``error`` event with the error as
everywhere is the last one of a stream that did not simply end.

Nothing is sent before the first message, or ``OPEN_S`` without one: until then a refusal
is an ordinary answer with its code.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from starlette.types import Send

    from upbeat_server.http.errors import HttpError
    from upbeat_server.http.message_writer import MessageWriter

OPEN_S: Final = 0.25
KEEP_ALIVE_S: Final = 15.0
EVENT_STREAM: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"
RESUMED_FROM: Final = "revision"
"""The field of a message that is its id, and of a request what ``Last-Event-ID`` sets."""
_HEADERS: Final = [
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # Else nginx gathers events.
    (b"x-content-type-options", b"nosniff"),
]


class EventStream:
    """Writes one stream. Events and comments never mix: a lock keeps each whole."""

    def __init__(self, send: Send, descriptor: Descriptor, writer: MessageWriter) -> None:
        self._send = send
        self._parse = GetMessageClass(descriptor).FromString
        self._has_revision = RESUMED_FROM in descriptor.fields_by_name
        self._writer = writer
        self._turn = asyncio.Lock()
        self._is_idle = False  # Nothing was sent since the last comment.
        self.is_open = False

    async def send(self, data: bytes) -> None:
        """Send a message; returns when the transport took it."""
        message: Any = self._parse(data)
        body = await self._writer.write(message)
        revision = message.revision if self._has_revision else 0
        await self._put((b"id: %d\n" % revision if revision else b"") + _lines(body))

    async def keep_alive(self) -> None:
        """Open the stream where it is not; a comment if nothing was sent since this was called last."""
        if not self.is_open:
            await self._put(b": open\n\n")
        elif self._is_idle and not self._turn.locked():
            await self._put(b": keep-alive\n\n")
        self._is_idle = True

    async def end(self, error: HttpError | None) -> None:
        """Say how it ended, and end it."""
        if error is not None and not self.is_open:
            await error.send(self._send)
            return
        async with self._turn:
            await self._open()
            last = b"" if error is None else b"event: error\n" + _lines(error.body)
            await self._send({"type": "http.response.body", "body": last})

    async def _put(self, event: bytes) -> None:
        async with self._turn:
            await self._open()
            self._is_idle = False
            await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def _open(self) -> None:
        if not self.is_open:
            self.is_open = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})


def _lines(body: bytes) -> bytes:
    """The JSON as lines of data; a payload that was written over several lines stays so."""
    return b"data: " + b"\ndata: ".join(body.splitlines()) + b"\n\n"
