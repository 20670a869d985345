"""A real server inside your process, for your own tests.

    async def test_summary() -> None:
        async with upbeat.testing.server() as server, Client(server.address) as up:
            await agent.start(server.address)
            assert await up.run(SUMMARIZE, Doc("...")) == Summary("...")
            await agent.stop()

`with upbeat.testing.server() as server:` does the same without asyncio, for a
pytest fixture of any scope. It needs the server: `pip install "upbeat[server]"`.
It listens on a free port of 127.0.0.1, without TLS or tokens, and keeps tasks in
memory unless another store is named. It runs on the SDK's I/O thread, because
only one event loop of a process may use gRPC.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Self

from upbeat.errors import ServerExtraMissing
from upbeat.io_thread import io_thread

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Server:
    """An in-process server; make it with `server()`."""

    def __init__(self, store: str, port: int) -> None:
        self.store = store
        self.port = port
        self._app: Any = None

    @property
    def address(self) -> str:
        """HOST:PORT; known once it has started."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it; again on the same port after a `stop`. Raises ServerExtraMissing."""
        await io_thread().call(self._start(_app_class()))

    async def stop(self) -> None:
        """Stop it in good order; with the memory store, its tasks are gone."""
        await io_thread().call(self._stop())

    async def _start(self, app_class: Any) -> None:
        app = app_class.embedded(store=self.store, listen=self.address)
        await app.start()
        self._app = app
        self.port = app.grpc_port

    async def _stop(self) -> None:
        app, self._app = self._app, None
        if app is not None:
            await app.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        _wait(self._start(_app_class()))
        return self

    def __exit__(self, *_: object) -> None:
        _wait(self._stop())


def server(*, store: str = "memory", port: int = 0) -> Server:
    """A server to enter with `with` or `async with`.

    `store` is `memory` or `sqlite:PATH`; port 0 is any free one.
    """
    return Server(store, port)


def _wait(coroutine: Coroutine[Any, Any, None]) -> None:
    io_thread().start_call(coroutine).result()


def _app_class() -> Any:
    """The server's composition root, found without importing the server by name."""
    try:
        for entry in entry_points(group="upbeat.testing", name="app"):
            return entry.load()
        return importlib.import_module("upbeat_server.app").App  # A checkout that is not installed.
    except ImportError as error:
        raise ServerExtraMissing(
            f'upbeat.testing needs the server ({error}): pip install "upbeat[server]"'
        ) from error
