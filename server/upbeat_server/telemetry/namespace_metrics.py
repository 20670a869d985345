"""What the engines count of each namespace, read when somebody scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from upbeat_server.engine.census import TypeCensus
from upbeat_server.engine.model import AgentState, AttemptOutcome, Priority, TaskState
from upbeat_server.telemetry.families import NAMESPACE, Counted, by_enum, counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from upbeat_server.engine.census import Census
    from upbeat_server.telemetry.recorder import Recorder
    from upbeat_server.telemetry.task_figures import TypeNames


class Namespaces(Protocol):
    """Who counts; the orchestrator does."""

    @property
    def names(self) -> list[str]:
        """The open namespaces."""

    def census(self, name: str) -> Census | None:
        """Counts of a namespace."""


class NamespaceCollector(Collector):
    """What the engines count."""

    def __init__(self, namespaces: Namespaces, recorder: Recorder) -> None:
        self._namespaces = namespaces
        self._recorder = recorder

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not collect to know the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """One census of every namespace."""
        namespaces = self._namespaces
        counted = [(name, census) for name in namespaces.names if (census := namespaces.census(name))]
        yield from _tasks(counted)
        yield from self._types(counted)
        yield from _agents(counted)
        yield from _collaborations(counted)
        yield from _bus(counted)

    def _types(self, counted: Counted) -> Iterable[Metric]:
        labels = (*NAMESPACE, "type")
        live = GaugeMetricFamily(
            "upbeat_type_tasks", "Unfinished tasks of a type.", labels=(*labels, "state")
        )
        unserved = GaugeMetricFamily(
            "upbeat_type_unserved_tasks",
            "Queued tasks of a type that no agent which is there may have.",
            labels=labels,
        )
        for name, census in counted:
            for label, counts in _named(census.types, self._recorder.of(name).typed.names).items():
                for state in ("pending", "queued", "running"):
                    live.add_metric((name, label, state.upper()), getattr(counts, state))
                unserved.add_metric((name, label), counts.unserved)
        return live, unserved


def _named(types: dict[str, TypeCensus], names: TypeNames) -> dict[str, TypeCensus]:
    """Counts by label; what was named once stays, with nothing in it. Large ones are named first."""
    named = {label: TypeCensus() for label in names.labels}
    for task_type, counts in sorted(types.items(), key=lambda item: -item[1].live):
        named.setdefault(names.label(task_type), TypeCensus()).add(counts)
    return named


def _tasks(counted: Counted) -> Iterable[Metric]:
    yield by_enum(
        GaugeMetricFamily("upbeat_tasks", "Unfinished tasks.", labels=(*NAMESPACE, "state")),
        ((name, TaskState, census.live) for name, census in counted),
    )
    yield by_enum(
        CounterMetricFamily("upbeat_attempts", "Attempts that ended.", labels=(*NAMESPACE, "outcome")),
        ((name, AttemptOutcome, census.attempts) for name, census in counted),
    )
    yield by_enum(
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
    yield counter(
        "upbeat_tasks_submitted",
        "Tasks accepted, children of collaborations included.",
        counted,
        lambda c: c.submitted,
    )
    yield counter("upbeat_retries", "Attempts charged and tried again.", counted, lambda c: c.retries)
    yield counter("upbeat_leases_lost", "Leases lost with their agents.", counted, lambda c: c.leases_lost)
    yield gauge("upbeat_queue_bytes", "Specs of unfinished tasks.", counted, lambda c: c.queue_bytes)
    yield gauge("upbeat_signatures", "Different requirements of live tasks.", counted, lambda c: c.signatures)


def _agents(counted: Counted) -> Iterable[Metric]:
    yield by_enum(
        GaugeMetricFamily("upbeat_agents", "Known agents.", labels=(*NAMESPACE, "state")),
        ((name, AgentState, census.agents) for name, census in counted),
    )
    yield gauge("upbeat_slots", "Slots of agents that can take work.", counted, lambda c: c.slots)
    yield gauge("upbeat_slots_in_use", "Slots that are taken.", counted, lambda c: c.slots_in_use)


def _collaborations(counted: Counted) -> Iterable[Metric]:
    running = GaugeMetricFamily(
        "upbeat_collaborations", "Collaborations that run.", labels=(*NAMESPACE, "mode")
    )
    ended = CounterMetricFamily(
        "upbeat_collaborations_finished", "Collaborations that ended.", labels=(*NAMESPACE, "mode", "state")
    )
    for name, census in counted:
        for mode in sorted(census.groups.keys() | census.groups_ended.keys()):
            running.add_metric((name, mode), census.groups.get(mode, 0))
        for mode, counts in census.groups_ended.items():
            for state, count in counts.items():
                ended.add_metric((name, mode, TaskState(state).name), count)
    yield running
    yield ended
    yield counter("upbeat_hedges", "Second runs begun on a suspicion.", counted, lambda c: c.hedges)
    yield counter(
        "upbeat_wasted_seconds",
        "Agents' time on children of collaborations whose work was not used.",
        counted,
        lambda c: c.wasted_ms / 1000,
    )


def _bus(counted: Counted) -> Iterable[Metric]:
    yield counter("upbeat_bus_published", "Messages published.", counted, lambda c: c.bus.published)
    yield counter("upbeat_bus_delivered", "Deliveries, repeats included.", counted, lambda c: c.bus.delivered)
    yield counter("upbeat_bus_redelivered", "Repeated deliveries.", counted, lambda c: c.bus.redelivered)
    yield counter("upbeat_bus_acked", "Deliveries acknowledged.", counted, lambda c: c.bus.acked)
    yield counter(
        "upbeat_bus_dead_lettered",
        "Messages that a subscriber never acknowledged.",
        counted,
        lambda c: c.bus.dead_lettered,
    )
    yield gauge("upbeat_bus_topics", "Topics in use.", counted, lambda c: c.bus.topics)
    yield gauge("upbeat_bus_subscribers", "Subscriptions.", counted, lambda c: c.bus.subscribers)
    yield gauge("upbeat_bus_messages", "Messages kept.", counted, lambda c: c.bus.messages)
    yield gauge("upbeat_bus_dead_letters", "Dead letters kept.", counted, lambda c: c.bus.dead_letters)
