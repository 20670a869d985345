"""One gRPC call written as HTTP/2, for what no gRPC library would send."""

from __future__ import annotations

import asyncio
import struct
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.support.runtime import PATIENCE_S

Headers = list[tuple[bytes, bytes]]


def message(data: bytes, flag: int = 0, size: int | None = None) -> bytes:
    """A message as gRPC frames it; flag and size may lie."""
    return struct.pack(">BI", flag, len(data) if size is None else size) + data


async def call(port: int, path: bytes, body: bytes, *more: tuple[bytes, bytes]) -> dict[str, str]:
    """Make a call on a connection of its own; the headers and trailers of the answer.

    A header in ``more`` replaces mine of the same name; an empty value leaves it out. ``rst`` and
    ``goaway`` hold the error code if the stream or the connection ended so.
    """
    mine = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    replaced = {name for name, _ in more}
    headers = [(name, value) for name, value in mine.items() if name not in replaced]
    headers += [(name, value) for name, value in more if value]
    headers.sort(key=lambda header: not header[0].startswith(b":"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await _converse(reader, writer, headers, body)
    finally:
        writer.close()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Headers, body: bytes
) -> dict[str, str]:
    settings = h2.config.H2Configuration(
        client_side=True,
        header_encoding=None,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    connection = h2.connection.H2Connection(settings)
    connection.initiate_connection()
    connection.send_headers(1, headers)
    answer: dict[str, str] = {}
    is_sent = False
    while True:
        while not is_sent and connection.local_flow_control_window(1) > 0:
            room = min(connection.local_flow_control_window(1), connection.max_outbound_frame_size)
            part, body = body[:room], body[room:]
            is_sent = not body
            connection.send_data(1, part, end_stream=is_sent)
        writer.write(connection.data_to_send())
        data = await reader.read(65_536)
        if not data:
            return {"goaway": "closed", **answer}
        try:
            events = connection.receive_data(data)
        except h2.exceptions.ProtocolError:
            return {"goaway": "closed", **answer}  # Something behind a GOAWAY.
        for event in events:
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                answer |= {name.decode(): unquote(value.decode()) for name, value in event.headers}
            elif isinstance(event, h2.events.StreamReset):
                return {"rst": str(event.error_code), **answer}
            elif isinstance(event, h2.events.ConnectionTerminated):
                return {"goaway": str(event.error_code), **answer}
            elif isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.StreamEnded):
                return answer
