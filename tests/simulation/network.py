"""Calls and streams between hosts, as gRPC gives them to both ends - in bad weather.

A stream keeps its order and loses nothing until it breaks; then each end learns of it
in its own time, or - half-open - only by its keepalive, and whatever was under way is
lost. On a *hostile* wire single frames are lost, doubled and swapped as well, which no
gRPC peer of good will does to us. An end whose reader does not read holds its window:
writes wait.

What an end sees - EOF, AioRpcError, CancelledError - is what grpc.aio shows it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio import AioRpcError, Metadata

from tests.simulation.virtual_loop import Host

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.simulation.mix import WireMix
    from tests.simulation.virtual_loop import VirtualLoop

KEEPALIVE_S = 30.0
CONNECT_S = 5.0
WINDOW_FRAMES = 32
"""Frames that one direction holds before a writer waits; about 64 KiB of small ones."""

Status = tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]
BROKEN: Status = (grpc.StatusCode.UNAVAILABLE, "the connection is gone", ())
NO_ANSWER: Status = (grpc.StatusCode.UNAVAILABLE, "nobody listens there", ())
TOO_LATE: Status = (grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed", ())


def error_of(status: Status) -> AioRpcError:
    """What grpc.aio raises for a status."""
    code, message, trailing = status
    return AioRpcError(code, Metadata(), Metadata(*trailing), message)


class Pipe:
    """One direction of a stream: frames in order, then perhaps an end."""

    def __init__(self, network: Network, client: Host, is_hostile: bool) -> None:
        self._network = network
        self._client = client
        self._is_hostile = is_hostile
        self._arrived: deque[bytes] = deque()
        self._under_way = 0
        self._last_arrival_s = 0.0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self.is_stopped = False  # Nothing is written any more.
        self.is_cut = False  # Nothing passes any more, and nobody is told.
        self.is_ended = False  # The reader has been told that nothing more comes.

    @property
    def _is_open(self) -> bool:
        return not (self.is_cut or self.is_stopped)

    async def write(self, frame: bytes) -> None:
        """Send a frame; waits while the reader is far behind."""
        while self._under_way + len(self._arrived) >= WINDOW_FRAMES and self._is_open:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        if not self._is_open:
            return
        copies = self._network.copies() if self._is_hostile else 1
        for _ in range(copies):
            self._send(self._arrive, frame)
            self._under_way += 1

    def end(self, then: Callable[[], None]) -> None:
        """Half-close behind the frames that are under way."""
        if not self.is_cut:
            self._send(self._end, then)

    def _send(self, arrive: Callable[[Any], None], argument: Any) -> None:
        arrival_s = self._network.arrival_s(self._client)
        if not (self._is_hostile and self._network.swaps()):
            arrival_s = max(arrival_s, self._last_arrival_s)
        self._last_arrival_s = arrival_s
        self._network.at(arrival_s, arrive, argument)

    def _arrive(self, frame: bytes) -> None:
        self._under_way -= 1
        if not (self.is_cut or self.is_ended):
            self._arrived.append(frame)
            self.wake()

    def _end(self, then: Callable[[], None]) -> None:
        if not self.is_cut:
            then()

    def close(self) -> None:
        """Nothing more comes for the reader; what arrived can still be read."""
        self.is_ended = True
        self.wake()

    def stop(self) -> None:
        """Nothing more is written; what is under way arrives."""
        self.is_stopped = True
        self._let_write()

    def cut(self) -> None:
        """What is under way is lost."""
        self.is_cut = True
        self._let_write()

    def wake(self) -> None:
        """The reader has something to look at."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _let_write(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    async def read(self) -> bytes | None:
        """The next frame; None when nothing more comes."""
        while not self._arrived:
            if self.is_ended:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        frame = self._arrived.popleft()
        self._let_write()
        return frame


class Wire:
    """One call between a client's host and a server's."""

    def __init__(self, network: Network, method: str, client: Host, server: Host) -> None:
        is_hostile = network.mix.is_hostile and method.endswith("/Connect")
        self.network = network
        self.method = method
        self.client = client
        self.server = server
        self.up = Pipe(network, client, is_hostile)
        self.down = Pipe(network, client, is_hostile)
        self.status: Status | None = None  # As the client knows it.
        self.is_gone = False  # As the server knows it.
        self.handler: asyncio.Task[Any] | None = None
        network.wires.add_wire(self)

    def told_client(self, status: Status) -> None:
        """The client learns how the call ended. The first one holds."""
        if self.status is None:
            self.status = status
            self.down.close()
            self.up.stop()
            self._forget()

    def told_server(self) -> None:
        """The server learns that the peer is gone: grpc ends the read and cancels the handler."""
        if self.is_gone:
            return
        self.is_gone = True
        self.up.close()
        self.down.cut()
        if self.handler is not None and not self.handler.done() and not self.server.is_dead:
            self.network.soon(self.handler.cancel)
        self._forget()

    def _forget(self) -> None:
        if self.status is not None and self.is_gone:
            self.network.wires.remove_wire(self)

    def finish(self, status: Status) -> None:
        """The handler has ended: its status goes out behind its frames."""
        if self.is_gone:
            return
        self.is_gone = True
        self.up.close()
        self.down.end(lambda: self.told_client(status))
        self._forget()

    def cancel(self) -> None:
        """The client gives the call up."""
        if self.status is None:
            self.told_client((grpc.StatusCode.CANCELLED, "Locally cancelled by application!", ()))
            self.network.at(self.network.arrival_s(self.client), self.told_server)

    def tear(self, half_open: str = "") -> None:
        """The connection breaks; the end that ``half_open`` names (or "both") learns it by its keepalive."""
        self.up.cut()
        self.down.cut()
        now_s = self.network.loop.time()
        client_s = KEEPALIVE_S if half_open in ("client", "both") else self.network.delay_s()
        server_s = KEEPALIVE_S if half_open in ("server", "both") else self.network.delay_s()
        self.network.at(now_s + client_s, self.told_client, BROKEN)
        self.network.at(now_s + server_s, self.told_server)


class Wires:
    """The wires that are open, in the order of their opening."""

    def __init__(self) -> None:
        self._wires: dict[Wire, None] = {}

    def add_wire(self, wire: Wire) -> None:
        """A call begins."""
        self._wires[wire] = None

    def remove_wire(self, wire: Wire) -> None:
        """Both ends know of its end."""
        self._wires.pop(wire, None)

    def of(self, host: Host) -> list[Wire]:
        """Those that end at a host."""
        return [wire for wire in self._wires if host in (wire.client, wire.server)]

    def all(self) -> list[Wire]:
        """All of them."""
        return list(self._wires)


class Network:
    """Between everybody and the server."""

    def __init__(self, loop: VirtualLoop, rng: Random, mix: WireMix) -> None:
        self.loop = loop
        self.mix = mix
        self.wires = Wires()
        self.listener: Callable[[Wire, bytes | None], None] | None = None
        self.server: Host | None = None
        self._rng = rng
        self._context = Context()  # Of nobody: what is under way outlives its sender.
        self._cut_off: dict[str, float] = {}  # Host name to when the partition ends.

    # Weather.

    def delay_s(self) -> float:
        """How long a frame takes."""
        mix = self.mix
        delay_ms = self._rng.random() * mix.delay_ms_max
        if mix.stall_share and self._rng.random() < mix.stall_share:
            delay_ms += self._rng.random() * 3_000
        return delay_ms / 1_000

    def arrival_s(self, client: Host) -> float:
        """When a frame between a client and the server that leaves now is there."""
        return max(self.loop.time(), self._cut_off.get(client.name, 0.0)) + self.delay_s()

    def copies(self) -> int:
        """How often a frame arrives on a hostile wire."""
        luck = self._rng.random()
        return 0 if luck < self.mix.drop_share else 2 if luck < 2 * self.mix.drop_share else 1

    def swaps(self) -> bool:
        """Whether a frame may overtake others on a hostile wire."""
        return self._rng.random() < 2 * self.mix.drop_share

    def at(self, when_s: float, callback: Callable[..., object], *args: Any) -> None:
        """Do something at a time, on nobody's host."""
        self.loop.call_at(when_s, callback, *args, context=self._context.copy())

    def soon(self, callback: Callable[..., object]) -> None:
        """Do something now, on nobody's host."""
        self.loop.call_soon(callback, context=self._context.copy())

    def lose(self, host: Host) -> None:
        """A host is gone: what it wrote may still arrive, then the other ends see it, or much later."""
        for wire in self.wires.of(host):
            luck = self._rng.random()
            if luck < 0.1:
                wire.tear("both")  # The machine, not the process: nobody is told.
            elif luck < 0.5:
                wire.tear()
            elif host is wire.server:
                wire.finish(BROKEN)
            else:
                wire.up.end(wire.told_server)
                wire.told_client(BROKEN)

    def cut_off(self, host: Host, for_s: float) -> None:
        """Nothing passes between a host and the server for a while: short, it is a delay; longer, an end."""
        self._cut_off[host.name] = self.loop.time() + for_s
        if for_s > KEEPALIVE_S:
            for wire in self.wires.of(host):
                wire.tear("both")

    def heal(self) -> None:
        """Fair weather from now on."""
        self._cut_off.clear()

    # Calls.

    def connect(self, client: Host, method: str, request: bytes | None) -> Wire:
        """Begin a call; ``request`` is that of a call that does not stream in."""
        server = self.server
        wire = Wire(self, method, client, server or self.loop.world)
        if self._cut_off.get(client.name, 0.0) > self.loop.time() + CONNECT_S:
            self.at(self.loop.time() + CONNECT_S, self._unreachable, wire)
        else:
            self.at(self.arrival_s(client), self._arrive, wire, request)
        return wire

    def _unreachable(self, wire: Wire) -> None:
        wire.told_client(NO_ANSWER)
        wire.told_server()

    def _arrive(self, wire: Wire, request: bytes | None) -> None:
        if wire.status is not None or wire.up.is_cut:
            wire.told_server()
        elif self.server is None or self.server is not wire.server or self.listener is None:
            self._unreachable(wire)
        else:
            self.listener(wire, request)
