"""The grpc server behind a port, built anew when grpc itself breaks.

``grpc.aio`` decodes the path of a call in the loop that accepts calls: one request whose
path is not UTF-8 - nobody has to be known for it - ends that loop and with it the server,
while the process lives on behind a closed port. No option, interceptor or handler of ours
comes before it. So whatever ends the server but ``stop`` is logged, and a new one takes the
port: streams end and resume as after any lost connection, and nothing else is lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import structlog

from upbeat_server.clock import incident_id

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

log = structlog.get_logger("upbeat.listener")

CHECK_S = 0.1
"""How long a server that broke goes unnoticed, at most; also the pause before the port is tried again."""


class Listener:
    """A port that is served until ``stop``.

    ``build`` makes a server without ports; ``listen`` adds the port of this number to it and answers
    the number: 0 stands for any free one the first time.
    """

    def __init__(
        self, build: Callable[[], grpc.aio.Server], listen: Callable[[grpc.aio.Server, int], int], port: int
    ) -> None:
        self.port = port  # The real one after start.
        self._build = build
        self._listen = listen
        self._server: grpc.aio.Server | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def start(self) -> None:
        """Listen. Raises what ``listen`` raises."""
        await self._serve()
        self._keeper = asyncio.create_task(self._keep(), name="upbeat-listener")

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and end those that are left after the grace. Idempotent."""
        self._is_stopping = True
        if self._server is not None:
            await self._server.stop(grace_s)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))

    async def _serve(self) -> None:
        server = self._build()
        self.port = self._listen(server, self.port)
        await server.start()
        self._server = server

    async def _keep(self) -> None:
        while (server := self._server) is not None:
            # What broke the server does not end its calls, and until they end grpc tells nobody.
            while cast("Any", server)._server.is_running():  # noqa: ASYNC110 - grpc has no event for it
                await asyncio.sleep(CHECK_S)
            if self._is_stopping:
                return
            try:
                await server.stop(0)
                await server.wait_for_termination()
            except Exception:
                log.exception("grpc_broke", incident=incident_id())
            await self._serve_again()

    async def _serve_again(self) -> None:
        while not self._is_stopping:
            try:
                await self._serve()
            except Exception as error:
                log.warning("port_not_taken_again", port=self.port, error=str(error))
                await asyncio.sleep(CHECK_S)
            else:
                log.info("listening_again", port=self.port)
                return
