"""Calls under the names that dashboards for gRPC know."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from upbeat_server.telemetry.calls import CallMetrics

LABELS = {"grpc_type": "unary", "grpc_service": "upbeat.v1.TaskService", "grpc_method": "GetTask"}


def registered() -> tuple[CollectorRegistry, CallMetrics]:
    registry = CollectorRegistry()
    calls = CallMetrics()
    registry.register(calls)
    return registry, calls


def test_a_method_is_there_before_its_first_call() -> None:
    registry, calls = registered()
    calls.of_method(*LABELS.values())
    assert registry.get_sample_value("grpc_server_started_total", LABELS) == 0
    assert registry.get_sample_value("grpc_server_handled_total", LABELS | {"grpc_code": "OK"}) == 0
    assert registry.get_sample_value("grpc_server_handling_seconds_count", LABELS) == 0


def test_a_call_is_counted_by_code_and_time() -> None:
    registry, calls = registered()
    method = calls.of_method(*LABELS.values())
    for code in ("OK", "NOT_FOUND", "OK"):
        method.started()
        method.handled(code, 0.02)
    method.received += 3
    method.sent += 2
    sample = registry.get_sample_value
    assert sample("grpc_server_started_total", LABELS) == 3
    assert sample("grpc_server_handled_total", LABELS | {"grpc_code": "OK"}) == 2
    assert sample("grpc_server_handled_total", LABELS | {"grpc_code": "NOT_FOUND"}) == 1
    assert sample("grpc_server_msg_received_total", LABELS) == 3
    assert sample("grpc_server_msg_sent_total", LABELS) == 2
    assert sample("grpc_server_handling_seconds_bucket", LABELS | {"le": "0.01"}) == 0
    assert sample("grpc_server_handling_seconds_bucket", LABELS | {"le": "0.025"}) == 3


def test_a_method_has_one_set_of_figures_however_often_it_is_asked_for() -> None:
    calls = CallMetrics()
    assert calls.of_method(*LABELS.values()) is calls.of_method(*LABELS.values())
