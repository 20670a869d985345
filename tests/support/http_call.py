"""HTTP requests without a library: status, headers, body; and streams of events, one by one."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 20


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def tree(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Event(msgspec.Struct):
    """One server-sent event; a comment has nothing but its text."""

    name: str = ""
    data: str = ""
    id: str = ""
    comment: str = ""

    @property
    def tree(self) -> Any:
        """The data as JSON."""
        return json.loads(self.data)


class Events:
    """A stream of events that is open."""

    def __init__(self, answer: Answer, reader: asyncio.StreamReader) -> None:
        self.answer = answer
        self._reader = reader
        self._rest = b""

    async def next(self) -> Event | None:
        """The next event or comment; None at the end."""
        async with asyncio.timeout(PATIENCE_S):
            while b"\n\n" not in self._rest:
                size = int(await self._reader.readline(), 16)
                self._rest += await self._reader.readexactly(size)
                await self._reader.readexactly(2)
                if not size:
                    return None
        block, _, self._rest = self._rest.partition(b"\n\n")
        event = Event()
        for line in block.decode().split("\n"):
            name, _, value = line.partition(": ")
            if name == "data":
                event.data += value + "\n"
            else:
                setattr(event, {"event": "name", "": "comment"}.get(name, name), value)
        return event

    async def message(self) -> Event:
        """The next event that is no comment."""
        while (event := await self.next()) is not None:
            if not event.comment:
                return event
        raise AssertionError("the stream ended")


async def get(port: int, path: str, tls: ssl.SSLContext | None = None, **headers: str) -> Answer:
    """GET a path from this machine."""
    return await ask(port, "GET", path, None, tls, **headers)


async def ask(
    port: int, verb: str, path: str, body: Any = None, tls: ssl.SSLContext | None = None, **headers: str
) -> Answer:
    """Send a request; a body that is not bytes is sent as JSON. ``_`` in names of headers is ``-``."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
        )
        try:
            writer.write(request(verb, path, body, {"connection": "close", **headers}))
            await writer.drain()
            answer = await _head(reader)
            body_bytes = await reader.readexactly(int(answer.headers.get("content-length", "0")))
        finally:
            writer.transport.abort()
        answer.body = body_bytes.decode(errors="replace")
    return answer


@asynccontextmanager
async def listening(port: int, path: str, **headers: str) -> AsyncIterator[Events]:
    """GET a stream of events; leaving the block closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request("GET", path, None, headers))
        async with asyncio.timeout(PATIENCE_S):
            answer = await _head(reader)
            if "content-length" in answer.headers:
                answer.body = (await reader.readexactly(int(answer.headers["content-length"]))).decode()
        yield Events(answer, reader)
    finally:
        writer.transport.abort()


def request(verb: str, path: str, body: Any, headers: dict[str, str]) -> bytes:
    """A request as bytes."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    named = {"host": "localhost"}
    if body is not None:
        named |= {"content-type": "application/json", "content-length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{verb} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


async def _head(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    answered = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
    return Answer(int(head[0].split()[1]), answered, "")
