"""A TCP proxy that treats connections badly: late, slow, stalled, half-open, cut, with flipped bits.

Runs on a thread of its own; what is set from outside holds from the next piece of data on. Needs no
rights, so it works everywhere. What it cannot do is lose a packet and have the kernel send it again;
a stall looks the same to whoever reads.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

PIECE_BYTES = 16 << 10
PIECES_MAX = 64
"""What a direction of a connection holds before it stops reading, as a network does."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send RST."""


class Direction:
    """What happens to data on its way to one side; of all connections, present and to come."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.flipped = 0
        self.flowing = asyncio.Event()  # While it is not set nothing arrives; it does afterwards.
        self.be_good()

    def be_good(self) -> None:
        """No fault."""
        self.delay_s = 0.0
        self.jitter_s = 0.0  # Evenly from 0, on top; order is kept.
        self.bytes_per_s = 0.0  # 0: no limit.
        self.flip_every_bytes = 0  # One bit in so many bytes, on average; 0: none.
        self.stall_share = 0.0  # Of the pieces, as if a packet had been lost...
        self.stall_s = 0.2  # ...and sent again after this.
        self.flowing.set()

    def due_s(self, size: int, now_s: float, last_s: float) -> float:
        """When a piece arrives that was sent now, behind one that arrives at ``last_s``."""
        late_s = self.delay_s + self._rng.uniform(0, self.jitter_s)
        if self._rng.random() < self.stall_share:
            late_s += self.stall_s
        return max(now_s + late_s, last_s + (size / self.bytes_per_s if self.bytes_per_s else 0.0))

    def spoil(self, piece: bytes) -> bytes:
        """The piece as it arrives."""
        if not self.flip_every_bytes or self._rng.random() > len(piece) / self.flip_every_bytes:
            return piece
        spoiled = bytearray(piece)
        spoiled[self._rng.randrange(len(spoiled))] ^= 1 << self._rng.randrange(8)
        self.flipped += 1
        return bytes(spoiled)


class _Link:
    """One connection through the wire."""

    def __init__(self, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self._writers = writers
        self.lost: set[int] = set()  # Directions (by id) whose data is thrown away from now on.

    def reset(self) -> None:
        """Both sides are told that it is over, at once."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        """Data of one direction, in order, each piece when it is due."""
        loop = asyncio.get_running_loop()
        waiting: deque[tuple[float, bytes]] = deque()
        changed = asyncio.Event()
        room = asyncio.Semaphore(PIECES_MAX)
        is_over = False

        async def send() -> None:
            try:
                while waiting or not is_over:
                    if not waiting:
                        changed.clear()
                        await changed.wait()
                        continue
                    due_s, piece = waiting.popleft()
                    await asyncio.sleep(due_s - loop.time())
                    await direction.flowing.wait()
                    if id(direction) not in self.lost:
                        writer.write(direction.spoil(piece))
                        await writer.drain()
                    room.release()
                if writer.can_write_eof():
                    writer.write_eof()
            except OSError:
                self.reset()
                room.release()  # Whoever waits for room finds that it is over.

        sender = asyncio.create_task(send())
        last_s = 0.0
        try:
            while piece := await reader.read(PIECE_BYTES):
                last_s = direction.due_s(len(piece), loop.time(), last_s)
                waiting.append((last_s, piece))
                changed.set()
                await room.acquire()
            is_over = True
            changed.set()
            await sender
        except OSError:
            self.reset()  # A side was reset, so is the other.
        finally:
            sender.cancel()


class FaultyWire:
    """Listens on a port of its own and carries everything to ``upstream``; use it with ``with``."""

    def __init__(self, upstream: str, seed: str = "wire") -> None:
        rng = random.Random(seed)
        self.to_server = Direction(rng)
        self.to_client = Direction(rng)
        self.is_refusing = False  # New connections are reset at once.
        self.connections = 0  # That were carried so far.
        self.port = 0
        host, _, port = upstream.rpartition(":")
        self._upstream = host, int(port)
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where to connect instead."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        self._run(self._listen())
        return self

    def close(self) -> None:
        """Reset what is open, listen no more."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def hold(self) -> None:
        """A partition: nothing arrives on either side until it heals; nobody is told."""
        self._run(self._hold())

    def lose(self, *directions: Direction) -> None:
        """The connections that there are become half-open: data of these directions is thrown away."""
        self._run(self._lose(directions))

    def cut(self) -> None:
        """Reset the connections that there are."""
        self._run(self._cut())

    def heal(self) -> None:
        """A good wire again; connections that lost data are reset, for they are beyond repair."""
        self.is_refusing = False
        self._run(self._heal())

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _cut(self, *, only_lost: bool = False) -> None:
        for link in list(self._links):
            if link.lost or not only_lost:
                link.reset()

    async def _hold(self) -> None:
        self.to_server.flowing.clear()
        self.to_client.flowing.clear()

    async def _heal(self) -> None:
        for direction in (self.to_server, self.to_client):
            direction.be_good()
        await self._cut(only_lost=True)

    async def _lose(self, directions: tuple[Direction, ...]) -> None:
        for link in self._links:
            link.lost |= {id(direction) for direction in directions}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            _Link((writer, writer)).reset()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            _Link((writer, writer)).reset()
            return
        self.connections += 1
        link = _Link((writer, far_writer))
        self._links.add(link)
        try:
            await asyncio.gather(
                link.carry(reader, far_writer, self.to_server),
                link.carry(far_reader, writer, self.to_client),
                return_exceptions=True,
            )
        finally:
            self._links.discard(link)
            link.reset()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
