"""OpenTelemetry, where a program uses it: nothing here imports what the program has not imported.

A task is submitted under the span that is current for its caller, and its handler runs
in a span below that of its attempt. Whoever has not imported `opentelemetry.trace` has no
span and no tracer, and pays a look into a dictionary.
"""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from upbeat.version import SDK_VERSION

if TYPE_CHECKING:
    from types import ModuleType

    from opentelemetry.context import Context

    from upbeat.v1 import agent_service_pb2 as wire

_API = "opentelemetry.trace"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII)
_NOTHING: AbstractContextManager[object] = nullcontext()


def current_traceparent() -> str:
    """The W3C trace context of the span that is current here; "" where there is none."""
    if _API not in sys.modules:
        return ""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0x03:02x}"


def handling(assignment: wire.Assignment) -> AbstractContextManager[object]:
    """What a handler runs in: a span below that of its attempt."""
    if _API not in sys.modules:
        return _NOTHING
    from opentelemetry import trace

    return trace.get_tracer("upbeat", SDK_VERSION).start_as_current_span(
        f"process {assignment.type}",
        context=_context_of(trace, assignment.traceparent),
        kind=trace.SpanKind.CONSUMER,
        attributes={
            "messaging.system": "upbeat",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": assignment.type,
            "messaging.message.id": assignment.task_id,
            "upbeat.attempt": assignment.attempt,
            "upbeat.lease.id": assignment.lease_id,
        },
    )


def _context_of(trace: ModuleType, traceparent: str) -> Context:
    """Below the given span alone; of what the standard says to ignore, below none."""
    from opentelemetry.context import Context

    nothing = Context()
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return nothing
    trace_id, span_id, flags = (int(group, 16) for group in match.groups())
    parent = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
    below: Context = trace.set_span_in_context(trace.NonRecordingSpan(parent), nothing)
    return below
