"""The ``grpc_server_*`` metrics, under the names that dashboards for gRPC know.

Names and labels are those of go-grpc-middleware, codes are written as Python and Java write
them (``UNAVAILABLE``). Labels are the methods of the contract and status codes, nothing that a
caller chooses. All of it is plain numbers that are read when somebody scrapes: a counter with
a lock would cost more than reading a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from upbeat_server.telemetry.windows import Buckets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

METHOD: Final = ("grpc_type", "grpc_service", "grpc_method")
CALL_SECONDS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
)  # fmt: skip


class MethodMetrics:
    """The figures of one method."""

    __slots__ = ("began", "ended", "received", "seconds", "sent")

    def __init__(self) -> None:
        self.began = 0
        # By code. What is there from the start is a counter whose first step is seen: the first defect too.
        self.ended: dict[str, int] = {"OK": 0, "INTERNAL": 0}
        self.received = 0  # Messages read from callers.
        self.sent = 0  # Messages sent to callers.
        self.seconds = Buckets(CALL_SECONDS)

    def started(self) -> None:
        """A call began."""
        self.began += 1

    def handled(self, code: str, seconds: float) -> None:
        """A call ended with a status code."""
        self.ended[code] = self.ended.get(code, 0) + 1
        self.seconds.add(seconds)


class CallMetrics(Collector):
    """The figures of all methods."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, str, str], MethodMetrics] = {}

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """The figures of one method."""
        return self._methods.setdefault((kind, service, method), MethodMetrics())

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not collect to know the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures as they are."""
        started = CounterMetricFamily("grpc_server_started", "Calls that began.", labels=METHOD)
        handled = CounterMetricFamily(
            "grpc_server_handled", "Calls that ended, by code.", labels=(*METHOD, "grpc_code")
        )
        received = CounterMetricFamily(
            "grpc_server_msg_received", "Messages read from callers.", labels=METHOD
        )
        sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent to callers.", labels=METHOD)
        seconds = HistogramMetricFamily(
            "grpc_server_handling_seconds", "Time from the start of a call to its end.", labels=METHOD
        )
        for labels, method in self._methods.items():
            started.add_metric(labels, method.began)
            received.add_metric(labels, method.received)
            sent.add_metric(labels, method.sent)
            for code, count in method.ended.items():
                handled.add_metric((*labels, code), count)
            seconds.add_metric(labels, method.seconds.cumulative(), method.seconds.sum)
        return started, handled, received, sent, seconds
