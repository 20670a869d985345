"""``/metrics``, ``/healthz`` and ``/readyz``: what operators and load balancers ask for.

Alive means that the loop answers. Ready means that new work is taken. Metrics
cover all namespaces: where there are tokens they need one that may view them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from upbeat_server.engine import reasons
from upbeat_server.http.errors import error_of_refusal
from upbeat_server.rpc.identity import ALL_NAMESPACES, Role
from upbeat_server.runtime.refused import Refused, refused
from upbeat_server.telemetry.exposition import expose

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from starlette.requests import Request

    from upbeat_server.rpc.identity import Authenticator


def probe_routes(
    registry: CollectorRegistry, authenticator: Authenticator, unready: Callable[[], list[str]]
) -> list[Route]:
    """The routes. ``unready`` answers why no new work is taken, or nothing."""

    async def metrics(request: Request) -> Response:
        _admit_scraper(authenticator, request.headers.get("authorization"))
        text, content_type = await expose(registry, request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        why = unready()
        return JSONResponse({"ready": not why, "reasons": why}, status_code=503 if why else 200)

    return [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]


def _admit_scraper(authenticator: Authenticator, authorization: str | None) -> None:
    try:
        identity = authenticator.identify(authorization)
    except Refused as error:
        raise error_of_refusal(error.refusal) from None
    if Role.VIEWER not in identity.roles or not identity.may_enter(ALL_NAMESPACES):
        raise error_of_refusal(
            refused(
                reasons.ROLE_INSUFFICIENT,
                f'metrics need a token with the role viewer in the namespaces "{ALL_NAMESPACES}"',
            ).refusal
        )
