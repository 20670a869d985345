"""How a running attempt is heard: progress, pieces of output, usage.

Called on handlers' threads, carried to the I/O thread. Progress is coalesced
here already; pieces wait while too many are unsent, but never for a server
that is away, and never once the attempt is to stop.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from upbeat.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_BYTES_MAX = 64 << 10
MESSAGE_BYTES_MAX = 1_024
UNSENT_MAX = 64


class Ear(Protocol):
    """Where it is heard; callable from any thread."""

    def said(self, lease_id: str, fraction: float, message: str) -> None:
        """How far the attempt is."""

    def emitted(self, lease_id: str, chunk: bytes) -> None:
        """A piece of its output."""

    def soon(self, call: Callable[[], None]) -> None:
        """Run `call` on the I/O thread, in order."""


class Voice:
    """Of one attempt."""

    def __init__(self, lease_id: str, ear: Ear) -> None:
        self.usage = task_pb2.Usage()
        self.stop_reason = ""
        self._lease_id = lease_id
        self._ear = ear
        self._lock = threading.Lock()
        self._latest: tuple[float, str] | None = None
        self._unsent = 0
        self._is_flowing = True
        self._waiters: list[Callable[[], None]] = []

    # On the handler's thread.

    def say(self, fraction: float, message: str) -> None:
        """Replaces what has not been sent yet; raises ValueError unless 0 <= fraction <= 1."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction {fraction!r}: from 0 to 1 is expected")
        with self._lock:
            is_posted = self._latest is not None
            self._latest = (fraction, bounded(message, MESSAGE_BYTES_MAX))
        if not is_posted:
            self._ear.soon(self._pass_on)

    @staticmethod
    def pieces(chunk: str | bytes) -> Iterator[bytes]:
        """In pieces that the server takes; text is not cut within a character."""
        data = chunk.encode("utf-8", "replace") if isinstance(chunk, str) else bytes(chunk)
        start = 0
        while start < len(data):
            end = min(start + CHUNK_BYTES_MAX, len(data))
            while isinstance(chunk, str) and end < len(data) and data[end] & 0xC0 == 0x80:
                end -= 1
            yield data[start:end]
            start = end

    async def emit(self, piece: bytes) -> None:
        """Send a piece, once there is room."""
        loop = asyncio.get_running_loop()
        while True:
            room = loop.create_future()

            def tell(room: asyncio.Future[None] = room) -> None:
                loop.call_soon_threadsafe(_resolve, room)

            if self._take_room(tell):
                break
            await room
        self._ear.emitted(self._lease_id, piece)
        await asyncio.sleep(0)

    def emit_sync(self, piece: bytes) -> None:
        """Send a piece, once there is room."""
        while True:
            room = threading.Event()
            if self._take_room(room.set):
                break
            room.wait()
        self._ear.emitted(self._lease_id, piece)

    def _take_room(self, tell: Callable[[], None]) -> bool:
        with self._lock:
            if self._unsent < UNSENT_MAX or not self._is_flowing:
                self._unsent += 1
                return True
            self._waiters.append(tell)
            return False

    # On the I/O thread.

    def _pass_on(self) -> None:
        with self._lock:
            latest, self._latest = self._latest, None
        if latest is not None:
            self._ear.said(self._lease_id, *latest)

    def sent(self, pieces: int) -> None:
        """So many pieces have left, or were dropped."""
        with self._lock:
            self._unsent -= pieces
        self._tell_waiters()

    def flow(self, *, is_flowing: bool) -> None:
        """Whether pieces are leaving: nobody waits for room while they are not."""
        with self._lock:
            self._is_flowing = is_flowing
        if not is_flowing:
            self._tell_waiters()

    def _tell_waiters(self) -> None:
        with self._lock:
            waiters, self._waiters = self._waiters, []
        for tell in waiters:
            with suppress(RuntimeError):  # Its loop is closed: nobody waits any more.
                tell()


def bounded(text: str, bytes_max: int) -> str:
    """The text, cut to so many bytes of UTF-8 but never within a character."""
    data = text.encode("utf-8", "replace")
    if len(data) <= bytes_max:
        return data.decode()
    return data[: bytes_max - 3].decode("utf-8", "ignore") + "…"


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
