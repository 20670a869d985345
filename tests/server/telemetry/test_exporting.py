"""Where spans go: a stand-in for a collector that speaks OTLP, and what the environment may say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from upbeat import Agent, Client
from upbeat_server.app import App, StartFailed
from upbeat_server.config import Listen, ServiceSettings, Settings, StoreSettings, TracingSettings
from upbeat_server.telemetry import exporting
from upbeat_server.telemetry.exporting import TracingUnavailable, open_export

TRACEPARENT = f"00-{'1' * 32}-{'2' * 16}-01"


class Collector:
    """Takes what is exported."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    async def Export(self, request: Any, _context: object) -> Any:  # noqa: N802 - as in the contract
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    collector, server = Collector(), grpc.aio.server()
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0)


def app_with(tracing: TracingSettings) -> App:
    return App(
        Settings(
            listen=Listen(grpc="127.0.0.1:0", http=""),
            store=StoreSettings(address="memory"),
            service=ServiceSettings(drain_ms=0, tracing=tracing),
        )
    )


async def one_task(app: App) -> None:
    """A task through a server, which is stopped then."""
    agent = Agent("w")
    agent.on("echo")(lambda value: value)
    await app.start()
    address = f"127.0.0.1:{app.grpc_port}"
    async with Client(address) as up:
        await agent.start(address)
        assert await up.run("echo", 1, timeout=30, traceparent=TRACEPARENT) == 1
        await agent.stop()
    await app.stop()


async def test_a_collector_gets_the_spans_at_the_latest_when_the_server_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    async with collecting() as (collector, endpoint):
        await one_task(app_with(TracingSettings(enabled=True, endpoint=endpoint, calls=False)))
    (request,) = collector.requests
    (resource_spans,) = request.resource_spans
    resource = {item.key: item.value.string_value for item in resource_spans.resource.attributes}
    assert (resource["service.name"], resource["deployment.environment"]) == ("upbeat", "test")
    (scope_spans,) = resource_spans.scope_spans
    (span,) = scope_spans.spans
    assert (scope_spans.scope.name, span.name) == ("upbeat_server", "attempt echo")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("1" * 32, "2" * 16)


async def test_a_collector_that_is_away_costs_its_spans_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporting, "CLOSE_S", 0.01)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with collecting() as (_, endpoint):
        pass
    await one_task(app_with(TracingSettings(enabled=True, endpoint=endpoint)))


@pytest.mark.parametrize(
    ("tracing", "environment"),
    [
        (TracingSettings(), {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}),
        (TracingSettings(enabled=True), {"OTEL_SDK_DISABLED": "True"}),
    ],
)
def test_it_is_off_unless_it_is_on(tracing: TracingSettings, environment: dict[str, str]) -> None:
    assert open_export(tracing, environment, "v") is None


async def test_without_an_exporter_agents_are_told_of_spans_all_the_same() -> None:
    export = open_export(TracingSettings(enabled=True), {"OTEL_TRACES_EXPORTER": "none"}, "v")
    assert export is not None
    await export.close()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/json: one of grpc, http/protobuf is expected",
        ),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "carrier pigeon"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=carrier pigeon",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp,pigeon"}, "no exporter of spans named pigeon"),
    ],
)
def test_what_cannot_be_exported_with_is_told_at_the_start(environment: dict[str, str], words: str) -> None:
    with pytest.raises(TracingUnavailable, match=words):
        open_export(TracingSettings(enabled=True), environment, "v")


async def test_a_server_that_cannot_trace_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeon")
    with pytest.raises(StartFailed, match="no exporter of spans named pigeon"):
        await app_with(TracingSettings(enabled=True)).start()
