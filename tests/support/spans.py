"""Spans that are kept in memory: those of this process's callers and agents, and those of a server."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from upbeat_server.app import App
from upbeat_server.telemetry.exporting import SpanExport

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


@cache
def own_spans() -> InMemorySpanExporter:
    """What callers and agents of this process make; the one provider that a process can have."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    return kept


def traced_app(kept: InMemorySpanExporter, sample_ratio: float | None = None, **options: Any) -> App:
    """A server, not started yet, that keeps its spans there."""
    app = App.embedded(**options)
    app.spans = SpanExport([SimpleSpanProcessor(kept)], sample_ratio, "test")
    return app


def named(kept: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """The spans of this name, in the order in which they ended."""
    return [span for span in kept.get_finished_spans() if span.name == name]


def span_id(span: ReadableSpan) -> int:
    """Its own id."""
    return _context(span).span_id


def trace_id(span: ReadableSpan) -> int:
    """Its trace."""
    return _context(span).trace_id


def _context(span: ReadableSpan) -> trace.SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def parent_id(span: ReadableSpan) -> int:
    """What it hangs below; 0 for the first of a trace."""
    return 0 if span.parent is None else int(span.parent.span_id)


def linked(span: ReadableSpan, kind: str) -> list[int]:
    """The spans that it is linked to in this way."""
    return [link.context.span_id for link in span.links if (link.attributes or {}).get("upbeat.link") == kind]
