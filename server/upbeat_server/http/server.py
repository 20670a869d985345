"""The HTTP server: uvicorn in the loop that is already running, on a socket of ours.

The socket is bound before anything else starts, so that a port in use is one
clear sentence and not a library's exit. Signals stay ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

import uvicorn

from upbeat_server.http.connection import HEAD_S, Connection, Crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from upbeat_server.config import Address
    from upbeat_server.rpc.tls import Certificates


BACKLOG: Final = 512
UNACKED_MS: Final = 60_000
"""After which the system gives a connection up whose other end is gone, or takes nothing."""


class PortUnavailable(Exception):
    """An address cannot be listened on; the text says why."""


def bind(address: Address) -> socket.socket:
    """A listening socket at the address. Raises PortUnavailable."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortUnavailable(f"{address} is not an address of this machine: {error.strerror}") from None
    try:
        if os.name == "posix":  # Elsewhere it would allow two servers on one port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Of Linux; else it takes a quarter of an hour.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKED_MS)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortUnavailable(f"{address} is in use by another program") from None
        raise PortUnavailable(f"{address} cannot be listened on: {error.strerror}") from None
    return sock


class HttpServer:
    """Serves an application on one address."""

    def __init__(self, app: ASGIApp, address: Address, certificates: Certificates | None) -> None:
        self._socket = bind(address)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            loop="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        config.load()
        if certificates is not None:
            config.ssl = certificates.ssl_context()
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Answer from now on."""
        self._serving = asyncio.create_task(self._server.serve([self._socket]), name="upbeat-http")

    async def stop(self) -> None:
        """Finish what is being answered, at most two seconds, and close. Idempotent."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._serving = None
        self._socket.close()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with bounds for every connection."""
        await self.lifespan.startup()
        connect = partial(
            Connection,
            Crowd(),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        tls = self.config.ssl
        self.servers = [
            await asyncio.get_running_loop().create_server(
                connect, sock=sock, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=HEAD_S if tls else None
            )
            for sock in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process that it runs in."""
        yield
