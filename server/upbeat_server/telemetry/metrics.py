"""The registry of a server and everything that is in it.

What the engine or the recorder counts anyway is read when somebody scrapes, so that a metric
costs nothing between scrapes. Each is declared once: ``namespace_metrics.py``,
``task_metrics.py``, ``server_metrics.py`` and ``calls.py``; ``deploy/README.md`` lists them all.
Labels are bounded: namespaces (the runtime bounds them), types (``task_figures.py`` does), enum
names, reasons; never an id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from upbeat_server.telemetry.calls import CallMetrics
from upbeat_server.telemetry.namespace_metrics import NamespaceCollector, Namespaces
from upbeat_server.telemetry.server_metrics import Doors, ServerCollector, Terms
from upbeat_server.telemetry.task_metrics import TaskCollector

if TYPE_CHECKING:
    from upbeat_server.telemetry.loop_lag import LoopLag
    from upbeat_server.telemetry.recorder import Recorder


class Fleet(Namespaces, Doors, Protocol):
    """What is counted when somebody scrapes; the orchestrator is one."""


class Metrics:
    """All metrics of a server."""

    def __init__(self, fleet: Fleet, recorder: Recorder, lag: LoopLag, terms: Terms) -> None:
        self.registry = CollectorRegistry()
        self.calls = CallMetrics()
        self.registry.register(self.calls)
        self.registry.register(NamespaceCollector(fleet, recorder))
        self.registry.register(TaskCollector(recorder))
        self.registry.register(ServerCollector(fleet, recorder, lag, terms))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
