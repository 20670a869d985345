"""Everything that is served over HTTP: the API, its description, probes and metrics, the page.

Each part is an application or a list of routes of its own; this is where they get their
places. Whatever the page serves is below ``/`` and comes last, so that it can never hide the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grpc import StatusCode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount

from upbeat_server.http.errors import HttpError, error_of_code, not_allowed, not_found
from upbeat_server.http.event_stream import LAST_EVENT_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

API: Final = "/api"


def build_site(
    api: ASGIApp, routes: Sequence[BaseRoute], page: ASGIApp | None = None, origins: Sequence[str] = ()
) -> Starlette:
    """The site.

    ``routes`` are the probes and the description, ``page`` answers for every other path, ``origins`` are
    other sites whose pages may read what is answered.
    """
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["authorization", "content-type", LAST_EVENT_ID, "traceparent"],
        expose_headers=["retry-after"],
    )
    return Starlette(
        routes=[Mount(API, api), *routes, *([] if page is None else [Mount("/", page)])],
        middleware=[cors] if origins else [],
        exception_handlers={HttpError: _answer, 404: _missing, 405: _mistaken, Exception: _broken},
    )


async def _answer(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HttpError):
        raise error
    return error.response


async def _missing(request: Request, _error: Exception) -> Response:
    return not_found(request.url.path).response


async def _mistaken(request: Request, error: Exception) -> Response:
    headers = getattr(error, "headers", None) or {}
    return not_allowed(request.method, headers.get("Allow", "GET").split(", ")).response


async def _broken(_request: Request, _error: Exception) -> Response:
    """A defect of ours; Starlette raises it again, so that it is logged."""
    return error_of_code(StatusCode.INTERNAL, "the server failed: its log says more").response
