"""Where spans go: a provider of OpenTelemetry, built from our settings and the usual environment.

``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_TRACES_SAMPLER``, ``OTEL_TRACES_EXPORTER``,
``OTEL_EXPORTER_OTLP_*``, ``OTEL_BSP_*`` and ``OTEL_SDK_DISABLED`` mean here what they mean everywhere; a
setting of ours wins. Spans wait in a bounded queue and are exported by a thread: with a collector that is
slow or away, spans are lost and nothing else. Imports OpenTelemetry only when it is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from upbeat_server.config import TracingSettings
    from upbeat_server.telemetry.tracer import Tracer

GROUP: Final = "opentelemetry_traces_exporter"
_BY_PROTOCOL: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_PACKAGES: Final = {
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
}
_HTTP_PATH: Final = "/v1/traces"
CLOSE_S: Final = 5.0
"""For the last spans to get out when the server stops."""


class TracingUnavailable(Exception):
    """Tracing is on and cannot be; the text says what to do."""


class SpanExport:
    """A provider and what makes spans with it."""

    def __init__(self, processors: Sequence[SpanProcessor], sample_ratio: float | None, version: str) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        from upbeat_server.telemetry.tracer import ChosenIds, Tracer

        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "upbeat"}))
        sampler = None if sample_ratio is None else ParentBased(TraceIdRatioBased(sample_ratio))
        ids = ChosenIds()
        self._provider: TracerProvider = TracerProvider(
            sampler=sampler, resource=resource, shutdown_on_exit=False, id_generator=ids
        )
        for processor in processors:
            self._provider.add_span_processor(processor)
        self.tracer: Tracer = Tracer(self._provider, ids, version)

    async def close(self, *, hurry: bool = False) -> None:
        """Export what waits, for a few seconds at most, or for none."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # Nobody waited for so long: the loop is closed.
                loop.call_soon_threadsafe(done.set)

        # A thread that does not keep the process: the exporter may go on for half a minute.
        threading.Thread(target=shut, name="upbeat-spans", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if hurry else CLOSE_S):
                await done.wait()


def open_export(settings: TracingSettings, environment: Mapping[str, str], version: str) -> SpanExport | None:
    """What spans are made and exported with; None where they are off. Raises TracingUnavailable."""
    if not settings.enabled or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise TracingUnavailable(
            "service.tracing.enabled needs OpenTelemetry, which is not installed: pip install 'upbeat[otel]'"
        ) from None
    exporters = [_exporter(name, settings.endpoint) for name in _names(environment)]
    processors = [BatchSpanProcessor(exporter) for exporter in exporters]
    return SpanExport(processors, settings.sample_ratio, version)


def _names(environment: Mapping[str, str]) -> list[str]:
    """The exporters that the environment asks for, as the packages call them."""
    names = []
    for word in environment.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        name = word.strip()
        if name == "otlp":
            name = _of_protocol(environment)
        if name and name != "none":
            names.append(name)
    return names


def _of_protocol(environment: Mapping[str, str]) -> str:
    variable = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    if variable not in environment:
        variable = "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environment.get(variable, "grpc").strip()
    if protocol not in _BY_PROTOCOL:
        raise TracingUnavailable(f"{variable}={protocol}: one of {', '.join(_BY_PROTOCOL)} is expected")
    return _BY_PROTOCOL[protocol]


def _exporter(name: str, endpoint: str) -> SpanExporter:
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        package = _PACKAGES.get(name, "the package that has it")
        raise TracingUnavailable(f"there is no exporter of spans named {name}: install {package}")
    kind = found[0].load()
    if not endpoint or name not in _PACKAGES:
        exporter: SpanExporter = kind()
    elif name == "otlp_proto_http":  # Given by hand, it takes the address as it is.
        exporter = kind(endpoint=endpoint.rstrip("/").removesuffix(_HTTP_PATH) + _HTTP_PATH)
    else:
        exporter = kind(endpoint=endpoint)
    return exporter
