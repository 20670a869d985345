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
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from upbeat_server.config import Address
    from upbeat_server.rpc.tls import Certificates


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
        sock.listen(512)
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
            http="h11",
            ws="none",
            loop="none",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=200,
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
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process that it runs in."""
        yield
