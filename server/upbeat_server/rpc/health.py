"""``grpc.health.v1``: whether the server, and each of its services, takes work.

The standard servicer is not used because it would parse requests by itself; the
protocol is the same. Nobody need be known to ask: load balancers do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health_pb2

from upbeat_server.engine import reasons
from upbeat_server.rpc.method import PlainStatus
from upbeat_server.runtime.refused import refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.rpc.method import Call, Stream

WATCHES_MAX: Final = 1_000

_State = health_pb2.HealthCheckResponse


class HealthService:
    """Answers for "" (the server) and for each service by its full name."""

    descriptor = health_pb2.DESCRIPTOR.services_by_name["Health"]
    roles: Final[dict[str, None]] = dict.fromkeys(("check", "list", "watch"))

    def __init__(self, services: Iterable[str]) -> None:
        self._states = dict.fromkeys(("", *services), _State.NOT_SERVING)
        self._changed = asyncio.Event()
        self._watches = 0

    def set_serving(self, serving: bool) -> None:
        """Say from now on whether everything takes work; tells those who watch."""
        state = _State.SERVING if serving else _State.NOT_SERVING
        if all(known == state for known in self._states.values()):
            return
        self._states = dict.fromkeys(self._states, state)
        self._changed.set()
        self._changed = asyncio.Event()

    async def check(self, request: Any, _call: Call) -> Any:
        """The state of one service."""
        state = self._states.get(request.service)
        if state is None:
            raise PlainStatus(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:128]!r}")
        return _State(status=state)

    async def list(self, _request: Any, _call: Call) -> Any:
        """The state of all services."""
        response = health_pb2.HealthListResponse()
        for service, state in self._states.items():
            response.statuses[service].status = state
        return response

    async def watch(self, request: Any, stream: Stream) -> None:
        """The state of one service now and whenever it changes."""
        if self._watches >= WATCHES_MAX:
            raise refused(
                reasons.STREAMS_EXHAUSTED, f"{WATCHES_MAX:,} health watches are open already", retry_ms=1_000
            )
        self._watches += 1
        try:
            sent = None
            while True:
                changed = self._changed
                state = self._states.get(request.service, _State.SERVICE_UNKNOWN)
                if state != sent:
                    await stream.write(_State(status=state))
                    sent = state
                await changed.wait()
        finally:
            self._watches -= 1
