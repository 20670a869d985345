"""The ``grpc_server_*`` metrics, under the names that dashboards for gRPC know.

Labels are the methods of the contract and status codes, nothing that a caller
chooses. Streams count their messages here too, as plain numbers that are read when
somebody scrapes: a counter with a lock would cost more than reading the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

_METHOD = ("grpc_type", "grpc_service", "grpc_method")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class MethodMetrics:
    """The metrics of one method, looked up once."""

    def __init__(self, metrics: CallMetrics, kind: str, service: str, method: str) -> None:
        self._labels = labels = (kind, service, method)
        self.received = 0  # Messages read from callers.
        self.sent = 0  # Messages sent to callers.
        self._handled = metrics.handled_total
        self._started = metrics.started_total.labels(*labels)
        self._seconds = metrics.handling_seconds.labels(*labels)

    def started(self) -> None:
        """A call began."""
        self._started.inc()

    def handled(self, code: str, seconds: float) -> None:
        """A call ended with a status code."""
        self._handled.labels(*self._labels, code).inc()
        self._seconds.observe(seconds)


class MessageCollector(Collector):
    """How many messages the methods have read and sent."""

    def __init__(self) -> None:
        self.methods: dict[tuple[str, str, str], MethodMetrics] = {}

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Both counters of every method."""
        received = CounterMetricFamily(
            "grpc_server_msg_received", "Messages read from callers.", labels=_METHOD
        )
        sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent to callers.", labels=_METHOD)
        for labels, method in self.methods.items():
            received.add_metric(labels, method.received)
            sent.add_metric(labels, method.sent)
        yield received
        yield sent

    describe = collect  # The names do not depend on what there is.


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
        self._messages = MessageCollector()
        registry.register(self._messages)

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """The metrics of one method."""
        known, labels = self._messages.methods, (kind, service, method)
        if labels not in known:
            known[labels] = MethodMetrics(self, *labels)
        return known[labels]
