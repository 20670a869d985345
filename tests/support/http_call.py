"""One HTTP request without a library: status, headers, body."""

from __future__ import annotations

import asyncio
import ssl

import msgspec

PATIENCE_S = 20


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str


async def get(port: int, path: str, tls: ssl.SSLContext | None = None, **headers: str) -> Answer:
    """GET a path from this machine."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
        )
        lines = [f"GET {path} HTTP/1.1", "host: localhost", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        answered = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name
        }
        body = await reader.readexactly(int(answered["content-length"]))
        writer.transport.abort()
    return Answer(int(head[0].split()[1]), answered, body.decode())
