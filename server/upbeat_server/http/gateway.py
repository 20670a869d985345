"""REST: every RPC at the path that its ``google.api.http`` option gives it.

There is no second schema. What is served, and how its requests and answers look, is
compiled from the descriptors when the server starts; an option that this cannot serve
is an error then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.datastructures import Headers

from upbeat_server.engine import reasons
from upbeat_server.http.body import BodyReader, CallerLeft
from upbeat_server.http.endpoint import Codecs, Endpoint, HttpMethod
from upbeat_server.http.errors import HttpError, error_of_refusal, not_allowed, not_found
from upbeat_server.http.origin import expect_same_site
from upbeat_server.http.rule import rule_of
from upbeat_server.runtime.refused import refused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from starlette.types import Receive, Scope, Send

    from upbeat_server.engine.model import Refusal
    from upbeat_server.http.path_template import PathTemplate
    from upbeat_server.rpc.door import Door, Servicer

STREAMS_MAX: Final = 200
"""Open at once; a page of the dashboard has about three."""
CALLS_MAX: Final = 512
"""Answered at once beside them. The page, probes and metrics count for neither, and always get an answer."""


class Resource:
    """A path, and what may be done there."""

    def __init__(self, template: PathTemplate) -> None:
        self.template = template
        self.endpoints: dict[str, Endpoint] = {}


class Places:
    """So many may be taken at once; entering without one raises HttpError."""

    def __init__(self, places_max: int, exhausted: Refusal) -> None:
        self._free = places_max
        self._exhausted = exhausted

    def __enter__(self) -> None:
        """Take one."""
        if not self._free:
            raise error_of_refusal(self._exhausted)
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._free += 1


class Gateway:
    """The ASGI application of the API. Raises ValueError for a contract that it cannot serve."""

    def __init__(self, door: Door, services: Sequence[Servicer], origins: Collection[str] = ()) -> None:
        self._door = door
        self._origins = origins
        self._bodies = BodyReader()
        self._streams = Places(STREAMS_MAX, _STREAMS_EXHAUSTED)
        self._calls = Places(CALLS_MAX, _CALLS_EXHAUSTED)
        self.resources: dict[str, Resource] = {}
        codecs = Codecs()
        for service in services:
            for method in service.descriptor.methods:
                rule = rule_of(method)
                if rule is not None:
                    self._add(Endpoint(HttpMethod(door, service, method), method, rule, codecs))
        self._ordered = sorted(self.resources.values(), key=lambda resource: resource.template.weight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._serve(scope, receive, send)
        except HttpError as error:
            await error.send(send)
        except CallerLeft:
            return

    def _add(self, endpoint: Endpoint) -> None:
        rule = endpoint.rule
        path = rule.template.text
        endpoints = self.resources.setdefault(path, Resource(rule.template)).endpoints
        if rule.verb in endpoints:
            raise ValueError(f"{rule.verb} {path} is the path of two RPCs")
        endpoints[rule.verb] = endpoint

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        method = scope["method"]
        endpoint, variables = self._find(method, _raw_path(scope))
        if method != "GET":
            expect_same_site(headers, self._origins)
        with self._streams if endpoint.streams else self._calls:
            await endpoint.serve(scope, receive, send, self._bodies, variables)

    def _find(self, method: str, path: str) -> tuple[Endpoint, list[tuple[str, str]]]:
        """What a path leads to, and its variables; the first match decides. Raises HttpError."""
        for resource in self._ordered:
            variables = resource.template.match(path)
            if variables is not None:
                if method not in resource.endpoints:
                    raise not_allowed(method, sorted(resource.endpoints))
                return resource.endpoints[method], variables
        raise not_found(path)


_STREAMS_EXHAUSTED = refused(
    reasons.STREAMS_EXHAUSTED,
    f"{STREAMS_MAX} streams of events are open over HTTP, which is the limit: close pages and watches "
    "that nobody looks at, or watch over gRPC",
    retry_ms=5_000,
    event_streams_max=str(STREAMS_MAX),
).refusal
_CALLS_EXHAUSTED = refused(
    reasons.SERVER_BUSY,
    f"{CALLS_MAX} calls are being answered over HTTP, which is the limit: try again, or call over gRPC",
    retry_ms=1_000,
    http_calls_max=str(CALLS_MAX),
).refusal


def _raw_path(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"], safe="/:") if raw is None else raw.decode("latin-1")
