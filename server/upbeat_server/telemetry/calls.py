"""The ``grpc_server_*`` metrics, under the names that dashboards for gRPC know.

Labels are the methods of the contract and status codes, nothing that a caller
chooses. Streams count their messages here too.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_METHOD = ("grpc_type", "grpc_service", "grpc_method")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class MethodMetrics:
    """The metrics of one method, looked up once."""

    def __init__(self, metrics: CallMetrics, kind: str, service: str, method: str) -> None:
        labels = (kind, service, method)
        self._labels = labels
        self._handled = metrics.handled_total
        self._started = metrics.started_total.labels(*labels)
        self._seconds = metrics.handling_seconds.labels(*labels)
        self.received = metrics.received_total.labels(*labels)
        self.sent = metrics.sent_total.labels(*labels)

    def started(self) -> None:
        """A call began."""
        self._started.inc()

    def handled(self, code: str, seconds: float) -> None:
        """A call ended with a status code."""
        self._handled.labels(*self._labels, code).inc()
        self._seconds.observe(seconds)


class CallMetrics:
    """All metrics of calls, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started_total = Counter("grpc_server_started", "Calls that began.", _METHOD, registry=registry)
        self.handled_total = Counter(
            "grpc_server_handled", "Calls that ended, by code.", (*_METHOD, "grpc_code"), registry=registry
        )
        self.handling_seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from the start of a call to its end.",
            _METHOD,
            buckets=_SECONDS,
            registry=registry,
        )
        self.received_total = Counter(
            "grpc_server_msg_received", "Messages read from callers.", _METHOD, registry=registry
        )
        self.sent_total = Counter(
            "grpc_server_msg_sent", "Messages sent to callers.", _METHOD, registry=registry
        )

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """The metrics of one method."""
        return MethodMetrics(self, kind, service, method)
