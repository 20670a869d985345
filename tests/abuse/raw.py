"""A connection that speaks HTTP/2 frame by frame: what it is told, polite or not.

No library that speaks HTTP/2 sends what is forbidden, or keeps silent when it should
answer. Here every frame is the attack's own choice. What arrives is read in the
background (or is not, when an attack wants that) and only counted, but for
windows, which the polite ``send_message`` keeps to, and the ends of streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW_FIRST = 65_535
FRAME_BYTES_MAX = 16_384
CONNECT_S = 10.0
GONE = (ConnectionError, asyncio.IncompleteReadError, TimeoutError)
"""What an attack meets when the server has had enough of it."""


def grpc_message(data: bytes, *, compressed: bool = False) -> bytes:
    """A message as gRPC puts it into DATA frames."""
    return struct.pack(">BI", compressed, len(data)) + data


def serialized(frames: Iterable[Frame]) -> bytes:
    """Frames as bytes, to be sent again and again."""
    return b"".join(frame.serialize() for frame in frames)


async def dial(port: int, *, receive_bytes: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A plain connection; ``receive_bytes`` keeps its receive buffer small."""
    plain = socket.socket()
    plain.setblocking(False)
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=plain)
    except BaseException:
        plain.close()
        raise


class RawConnection:
    """One connection of an attacker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.encoder = Encoder()
        self.seen: Counter[str] = Counter()  # Frames that arrived, by name.
        self.goaways: list[str] = []
        self.ended: set[int] = set()  # Streams that the server ended.
        self.closed = asyncio.Event()  # The server closed the connection.
        self._reader = reader
        self._writer = writer
        self._stream_id = -1
        self._window = WINDOW_FIRST
        self._windows: defaultdict[int, int] = defaultdict(lambda: WINDOW_FIRST)
        self._changed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, port: int, *, window: int = WINDOW_FIRST, reads: bool = True, receive_bytes: int = 0
    ) -> RawConnection:
        """Connect and say the preface; ``window`` is what the server may send on a stream."""
        connection = cls(*await dial(port, receive_bytes=receive_bytes))
        settings = SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: window})
        connection._writer.write(PREFACE + settings.serialize())
        if reads:
            connection._reading = asyncio.create_task(connection._read())
        await connection._writer.drain()
        return connection

    async def send(self, *frames: Frame) -> None:
        """Send frames; waits while the server does not take them."""
        await self.send_bytes(serialized(frames))

    async def send_bytes(self, data: bytes) -> None:
        """Send anything. Raises ConnectionError when the connection is over."""
        if self.closed.is_set():
            raise ConnectionResetError("the server closed the connection")
        self._writer.write(data)
        await self._writer.drain()

    def next_stream_id(self) -> int:
        """A stream that was not used yet."""
        self._stream_id += 2
        return self._stream_id

    def call(self, path: str, *more: tuple[str, str], ends: bool = False) -> HeadersFrame:
        """The HEADERS of a call of upbeat."""
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/upbeat.v1.{path}"),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *more,
        ]
        flags = ["END_HEADERS", "END_STREAM"] if ends else ["END_HEADERS"]
        return HeadersFrame(self.next_stream_id(), self.encoder.encode(headers), flags=flags)

    async def begin(self, path: str, *more: tuple[str, str]) -> int:
        """Begin a call; answers its stream."""
        headers = self.call(path, *more)
        await self.send(headers)
        return headers.stream_id

    async def send_message(self, stream_id: int, data: bytes, *, ends: bool = False) -> None:
        """Send a message as a polite peer would: within the windows."""
        await self.send_stream(stream_id, grpc_message(data))
        if ends:
            await self.send(DataFrame(stream_id, flags=["END_STREAM"]))

    async def send_stream(self, stream_id: int, data: bytes) -> None:
        """Send bytes of a stream, within the windows."""
        view = memoryview(data)
        while view:
            room = min(self._window, self._windows[stream_id], FRAME_BYTES_MAX)
            if room <= 0:
                self._changed.clear()
                await self._changed.wait()
                if self.closed.is_set() or stream_id in self.ended:
                    raise ConnectionResetError("the stream is over")
                continue
            part, view = view[:room], view[room:]
            self._window -= len(part)
            self._windows[stream_id] -= len(part)
            await self.send(DataFrame(stream_id, bytes(part)))

    async def wait_ended(self, stream_id: int) -> None:
        """Wait until the server ends a stream, or the connection."""
        while stream_id not in self.ended and not self.closed.is_set():
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Hang up."""
        if self._reading is not None:
            self._reading.cancel()
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _read(self) -> None:
        try:
            while True:
                frame, length = Frame.parse_frame_header(memoryview(await self._reader.readexactly(9)))
                frame.parse_body(memoryview(await self._reader.readexactly(length)))
                self._take(frame)
        except GONE:
            pass
        finally:
            self.closed.set()
            self._changed.set()

    def _take(self, frame: Frame) -> None:
        self.seen[type(frame).__name__.removesuffix("Frame")] += 1
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._writer.write(SettingsFrame(flags=["ACK"]).serialize())
            first = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, WINDOW_FIRST)
            self._windows.default_factory = lambda: first
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._writer.write(PingFrame(opaque_data=frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, WindowUpdateFrame):
            if frame.stream_id:
                self._windows[frame.stream_id] += frame.window_increment
            else:
                self._window += frame.window_increment
            self._changed.set()
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame.additional_data.decode(errors="replace"))
        if isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags:
            self.ended.add(frame.stream_id)
            self._changed.set()
