"""The span of one unary call. A stream has none: it may last for days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from upbeat_server.clock import wall_ns
from upbeat_server.telemetry.trace_context import TraceParent, read_traceparent

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.trace import Tracer as OtelTracer

LINKS_MAX: Final = 32

_FAULTS: Final = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""Codes that are the server's fault, as the conventions of OpenTelemetry have it."""


class CallSpan:
    """Begins with the call; what it hangs below may be learned from the request."""

    def __init__(self, tracer: OtelTracer, service: str, method: str, parent: TraceParent | None) -> None:
        self._tracer = tracer
        self._service = service
        self._method = method
        self._parent = parent
        self._links: list[Link] = []
        self._span: Span | None = None
        self._began_ns = wall_ns()

    @property
    def traceparent(self) -> str:
        """The span itself, for whatever hangs below it."""
        context = self._begun().get_span_context()
        return str(TraceParent(context.trace_id, context.span_id, context.trace_flags))

    def caused_by(self, traceparents: Collection[str]) -> None:
        """What the request says to be traced by: its parent, where the call itself has none and it is one."""
        given = [parent for parent in map(read_traceparent, traceparents) if parent is not None]
        if self._parent is None and len(given) == 1:
            self._parent = given[0]
        else:
            self._links = [Link(_context(parent)) for parent in given[:LINKS_MAX] if parent != self._parent]

    def ended(self, code: str, number: int) -> None:
        """The call was answered with this code of gRPC."""
        span = self._begun()
        span.set_attribute("rpc.grpc.status_code", number)
        if code in _FAULTS:
            span.set_status(Status(StatusCode.ERROR, code))
        span.end()

    def _begun(self) -> Span:
        if self._span is None:
            below = Context()
            if self._parent is not None:
                below = set_span_in_context(NonRecordingSpan(_context(self._parent)), below)
            self._span = self._tracer.start_span(
                f"{self._service}/{self._method}",
                context=below,
                kind=SpanKind.SERVER,
                attributes={
                    "rpc.system": "grpc",
                    "rpc.service": self._service,
                    "rpc.method": self._method,
                },
                links=self._links,
                start_time=self._began_ns,
            )
        return self._span


def _context(of: TraceParent) -> SpanContext:
    return SpanContext(of.trace_id, of.span_id, is_remote=True, trace_flags=TraceFlags(of.flags))
