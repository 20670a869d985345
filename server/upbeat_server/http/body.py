"""Bodies of requests: how they are read, and how much of them the server holds at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

from upbeat_server.engine import reasons
from upbeat_server.http.errors import JSON, HttpError, error_of_refusal
from upbeat_server.runtime.refused import invalid, refused

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

HELD_BYTES_MAX: Final = 128 << 20
"""Of all bodies together."""
ARRIVAL_S: Final = 30.0
"""For a body to arrive in."""


class CallerLeft(Exception):
    """The caller closed the connection in the middle of its request."""


class BodyReader:
    """Reads bodies within bounds."""

    def __init__(self) -> None:
        self._held_bytes = 0

    async def read(self, scope: Scope, receive: Receive, bytes_max: int) -> bytes:
        """The body; empty where there is none. Raises HttpError and CallerLeft."""
        headers = Headers(scope=scope)
        if not _has_body(headers):
            return b""
        _expect_json(headers)
        if int(headers.get("content-length", "0")) > bytes_max:
            raise _too_large(bytes_max)
        try:
            async with asyncio.timeout(ARRIVAL_S):
                return await self._gather(receive, bytes_max)
        except TimeoutError:
            raise HttpError(
                408, "DEADLINE_EXCEEDED", f"the body did not arrive within {ARRIVAL_S:g} s"
            ) from None

    async def _gather(self, receive: Receive, bytes_max: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise CallerLeft
                chunk = event.get("body", b"")
                size += len(chunk)
                self._held_bytes += len(chunk)
                if size > bytes_max:
                    raise _too_large(bytes_max)
                if self._held_bytes > HELD_BYTES_MAX:
                    raise error_of_refusal(_BUSY)
                chunks.append(chunk)
                if not event.get("more_body", False):
                    return b"".join(chunks)
        finally:
            self._held_bytes -= size


_BUSY = refused(
    reasons.SERVER_BUSY,
    f"the bodies of requests take {HELD_BYTES_MAX >> 20} MiB, which is the limit",
    retry_ms=1_000,
    held_bytes_max=str(HELD_BYTES_MAX),
).refusal


def expect_no_body(scope: Scope) -> None:
    """Raise HttpError for a body that nobody would read."""
    if _has_body(Headers(scope=scope)):
        raise error_of_refusal(invalid("body", "must be empty: fields stand in the query").refusal)


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _expect_json(headers: Headers) -> None:
    content_type = headers.get("content-type", "")
    essence, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    if essence.strip() != JSON or charset not in ("", "charset=utf-8"):
        raise HttpError(
            415,
            "INVALID_ARGUMENT",
            f"the body must be {JSON} in UTF-8, not {content_type[:100] or 'untyped'}",
        )
    if headers.get("content-encoding", "identity") != "identity":
        raise HttpError(415, "INVALID_ARGUMENT", "the body must not be compressed")


def _too_large(bytes_max: int) -> HttpError:
    return error_of_refusal(
        refused(
            reasons.MESSAGE_TOO_LARGE,
            f"the body is larger than {bytes_max:,} bytes, which is the limit of this call",
            bytes_max=str(bytes_max),
        ).refusal
    )
