"""Every ``upbeat_*`` metric, each declared once.

What the engine or the recorder counts anyway is read when somebody scrapes, so
that a metric costs nothing between scrapes. Labels are bounded: namespaces (the
runtime bounds them), enum names, reasons; never an id or a type that a caller
chose.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from upbeat_server.engine.model import AgentState, AttemptOutcome, Priority, TaskState
from upbeat_server.telemetry.calls import CallMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from enum import IntEnum

    from upbeat_server.engine.census import Census
    from upbeat_server.telemetry.recorder import NamespaceFigures, Recorder
    from upbeat_server.telemetry.windows import Distribution

NAMESPACE: Final = ("namespace",)

Counted: TypeAlias = "list[tuple[str, Census]]"
Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)


class Fleet(Protocol):
    """What is counted when somebody scrapes; the orchestrator is one."""

    @property
    def names(self) -> list[str]:
        """The open namespaces."""

    def census(self, name: str) -> Census | None:
        """Counts of a namespace."""

    @property
    def inbox_items(self) -> int:
        """How much waits for the loop."""

    @property
    def open_streams(self) -> dict[str, int]:
        """Open streams by kind."""


class Metrics:
    """The registry of a server and what is in it."""

    def __init__(self, fleet: Fleet, recorder: Recorder, version: str) -> None:
        self.registry = CollectorRegistry()
        self.calls = CallMetrics(self.registry)
        self.registry.register(NamespaceCollector(fleet))
        self.registry.register(ServerCollector(fleet, recorder, version))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)


class NamespaceCollector(Collector):
    """What the engines count."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not collect to know the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """One census of every namespace."""
        counted = [(name, census) for name in self._fleet.names if (census := self._fleet.census(name))]
        yield from self._tasks(counted)
        yield from self._agents(counted)
        yield from self._collaborations(counted)
        yield from self._bus(counted)

    def _tasks(self, counted: Counted) -> Iterable[Metric]:
        yield _by_enum(
            GaugeMetricFamily("upbeat_tasks", "Unfinished tasks.", labels=(*NAMESPACE, "state")),
            ((name, TaskState, census.live) for name, census in counted),
        )
        yield _by_enum(
            CounterMetricFamily("upbeat_tasks_finished", "Tasks that ended.", labels=(*NAMESPACE, "state")),
            ((name, TaskState, census.finished) for name, census in counted),
        )
        yield _by_enum(
            CounterMetricFamily("upbeat_attempts", "Attempts that ended.", labels=(*NAMESPACE, "outcome")),
            ((name, AttemptOutcome, census.attempts) for name, census in counted),
        )
        yield _by_enum(
            GaugeMetricFamily("upbeat_queue_tasks", "Queued tasks.", labels=(*NAMESPACE, "priority")),
            ((name, Priority, census.queue_depth) for name, census in counted),
        )
        oldest = GaugeMetricFamily(
            "upbeat_queue_oldest_age_seconds",
            "How long the oldest queued task has waited.",
            labels=(*NAMESPACE, "priority"),
        )
        for name, census in counted:
            for priority, age_ms in census.oldest_age_ms.items():
                oldest.add_metric((name, Priority(priority).name), age_ms / 1000)
        yield oldest
        yield _counter("upbeat_tasks_submitted", "Tasks accepted.", counted, lambda c: c.submitted)
        yield _counter("upbeat_retries", "Attempts charged and tried again.", counted, lambda c: c.retries)
        yield _counter("upbeat_leases_lost", "Leases lost.", counted, lambda c: c.leases_lost)
        yield _gauge("upbeat_queue_bytes", "Inputs of unfinished tasks.", counted, lambda c: c.queue_bytes)
        yield _gauge(
            "upbeat_signatures", "Different requirements of live tasks.", counted, lambda c: c.signatures
        )

    def _collaborations(self, counted: Counted) -> Iterable[Metric]:
        running = GaugeMetricFamily(
            "upbeat_collaborations", "Collaborations that run.", labels=(*NAMESPACE, "mode")
        )
        ended = CounterMetricFamily(
            "upbeat_collaborations_finished",
            "Collaborations that ended.",
            labels=(*NAMESPACE, "mode", "state"),
        )
        for name, census in counted:
            for mode, count in census.groups.items():
                running.add_metric((name, mode), count)
            for mode, counts in census.groups_ended.items():
                for state, count in counts.items():
                    ended.add_metric((name, mode, TaskState(state).name), count)
        yield running
        yield ended
        yield _counter("upbeat_hedges", "Second runs begun on a suspicion.", counted, lambda c: c.hedges)
        yield _counter(
            "upbeat_wasted_seconds",
            "Agents' time on children of collaborations whose work was not used.",
            counted,
            lambda c: c.wasted_ms / 1000,
        )

    def _agents(self, counted: Counted) -> Iterable[Metric]:
        yield _by_enum(
            GaugeMetricFamily("upbeat_agents", "Known agents.", labels=(*NAMESPACE, "state")),
            ((name, AgentState, census.agents) for name, census in counted),
        )
        yield _gauge("upbeat_slots", "Slots of agents that can take work.", counted, lambda c: c.slots)
        yield _gauge("upbeat_slots_in_use", "Slots that are taken.", counted, lambda c: c.slots_in_use)

    def _bus(self, counted: Counted) -> Iterable[Metric]:
        yield _counter("upbeat_bus_published", "Messages published.", counted, lambda c: c.bus.published)
        yield _counter(
            "upbeat_bus_delivered", "Deliveries, repeats included.", counted, lambda c: c.bus.delivered
        )
        yield _counter("upbeat_bus_redelivered", "Repeats.", counted, lambda c: c.bus.redelivered)
        yield _counter("upbeat_bus_acked", "Deliveries acknowledged.", counted, lambda c: c.bus.acked)
        yield _counter(
            "upbeat_bus_dead_lettered", "Messages given up.", counted, lambda c: c.bus.dead_lettered
        )
        yield _gauge("upbeat_bus_topics", "Topics in use.", counted, lambda c: c.bus.topics)
        yield _gauge("upbeat_bus_subscribers", "Subscriptions.", counted, lambda c: c.bus.subscribers)
        yield _gauge("upbeat_bus_messages", "Messages kept.", counted, lambda c: c.bus.messages)
        yield _gauge("upbeat_bus_dead_letters", "Dead letters kept.", counted, lambda c: c.bus.dead_letters)


class ServerCollector(Collector):
    """What the recorder keeps."""

    def __init__(self, fleet: Fleet, recorder: Recorder, version: str) -> None:
        self._fleet = fleet
        self._recorder = recorder
        self._version = version

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not collect to know the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures as they are."""
        yield from self._durations()
        yield from self._counts()
        yield from self._gauges()

    def _durations(self) -> Iterable[Metric]:
        recorder = self._recorder
        for name, text, distribution in (
            ("upbeat_store_commit_seconds", "Commits of the store.", recorder.commit),
            ("upbeat_loop_turn_seconds", "Steps of one turn of the loop.", recorder.turn),
            ("upbeat_dispatch_seconds", "From the turn to the agent's stream.", recorder.dispatch),
        ):
            family = HistogramMetricFamily(name, text)
            family.add_metric((), distribution.cumulative(), distribution.sum)
            yield family
        yield self._task_seconds(
            "upbeat_task_wait_seconds", "From submission to the first lease.", lambda f: f.wait
        )
        yield self._task_seconds("upbeat_task_run_seconds", "Accepted attempts.", lambda f: f.run)
        yield self._task_seconds(
            "upbeat_task_total_seconds", "From submission to the end.", lambda f: f.total
        )

    def _task_seconds(
        self, name: str, text: str, pick: Callable[[NamespaceFigures], Distribution]
    ) -> HistogramMetricFamily:
        family = HistogramMetricFamily(name, text, labels=NAMESPACE)
        for namespace, figures in self._recorder.namespaces.items():
            distribution = pick(figures)
            family.add_metric((namespace,), distribution.cumulative(), distribution.sum)
        return family

    def _counts(self) -> Iterable[Metric]:
        recorder = self._recorder
        yield CounterMetricFamily("upbeat_loop_events", "Events stepped.", value=recorder.events)
        yield CounterMetricFamily("upbeat_store_rows", "Rows committed.", value=recorder.rows)
        yield CounterMetricFamily(
            "upbeat_assignments", "Assignments handed to streams.", value=recorder.assigned_tasks
        )
        failures = CounterMetricFamily(
            "upbeat_store_commit_failures", "Commits that failed.", labels=("reason",)
        )
        for reason, count in recorder.commits_failed.items():
            failures.add_metric((reason,), count)
        yield failures
        refusals = CounterMetricFamily(
            "upbeat_submissions_refused", "Refused submissions.", labels=(*NAMESPACE, "reason")
        )
        for labels, count in recorder.refusals.items():
            refusals.add_metric(labels, count)
        yield refusals
        ended = CounterMetricFamily(
            "upbeat_streams_ended", "Streams that the server ended.", labels=("kind", "reason")
        )
        for labels, count in recorder.streams_ended.items():
            ended.add_metric(labels, count)
        yield ended

    def _gauges(self) -> Iterable[Metric]:
        recorder = self._recorder
        yield GaugeMetricFamily("upbeat_inbox_items", "Items for the loop.", value=self._fleet.inbox_items)
        streams = GaugeMetricFamily("upbeat_open_streams", "Open streams.", labels=("kind",))
        for kind, count in self._fleet.open_streams.items():
            streams.add_metric((kind,), count)
        yield streams
        yield GaugeMetricFamily(
            "upbeat_event_loop_tasks", "Tasks of the event loop that scrapes.", value=_event_loop_tasks()
        )
        yield GaugeMetricFamily(
            "upbeat_store_healthy", "1 while commits succeed.", value=1 if recorder.store_healthy else 0
        )
        yield GaugeMetricFamily(
            "upbeat_uptime_seconds", "Since the start.", value=recorder.now_s() - recorder.began_s
        )
        build = GaugeMetricFamily("upbeat_build", "1, with the version.", labels=("version",))
        build.add_metric((self._version,), 1)
        yield build


def _event_loop_tasks() -> int:
    """How many tasks have not ended on the loop of the caller; 0 beside a loop."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


def _by_enum(family: Family, rows: Iterable[tuple[str, type[IntEnum], dict[int, int]]]) -> Family:
    """The family with a sample for every namespace and number, under the number's name."""
    for namespace, names, counts in rows:
        for number, count in counts.items():
            if number == AttemptOutcome.RUNNING and names is AttemptOutcome:
                continue  # An attempt that runs has not ended.
            family.add_metric((namespace, names(number).name), count)
    return family


def _gauge(name: str, text: str, counted: Counted, pick: Callable[[Census], float]) -> GaugeMetricFamily:
    return _by_namespace(GaugeMetricFamily(name, text, labels=NAMESPACE), counted, pick)


def _counter(name: str, text: str, counted: Counted, pick: Callable[[Census], float]) -> CounterMetricFamily:
    return _by_namespace(CounterMetricFamily(name, text, labels=NAMESPACE), counted, pick)


def _by_namespace(family: Family, counted: Counted, pick: Callable[[Census], float]) -> Family:
    for namespace, census in counted:
        family.add_metric((namespace,), pick(census))
    return family
