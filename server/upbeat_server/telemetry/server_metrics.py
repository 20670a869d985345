"""What the server itself counts: durations, the loop, the store, streams, and what it is allowed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from upbeat_server.engine.limits import Limits
from upbeat_server.engine.model import Priority
from upbeat_server.telemetry.families import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

    from upbeat_server.telemetry.loop_lag import LoopLag
    from upbeat_server.telemetry.recorder import Recorder

COMMIT_FAILURES: Final = ("unavailable", "unknown", "stale_epoch")
"""Why commits fail; a counter that is there from the start is one whose first step is seen."""

STREAMS_COUNTED_MAX: Final = 1_000
"""With more, the tasks of the event loop are not counted: 10,000 agents' alone would take it 25 ms."""


def _nothing() -> list[str]:
    return []


class Doors(Protocol):
    """Who knows what is open; the orchestrator does."""

    @property
    def inbox_items(self) -> int:
        """How much waits for the loop."""

    @property
    def open_streams(self) -> dict[str, int]:
        """Open streams by kind."""


class Terms(msgspec.Struct, frozen=True):
    """What a server was started with, and how it says that it is not ready."""

    version: str
    limits: Limits = Limits()
    store_file: Path | None = None
    unready: Callable[[], list[str]] = _nothing


class ServerCollector(Collector):
    """What the recorder keeps."""

    def __init__(self, doors: Doors, recorder: Recorder, lag: LoopLag, terms: Terms) -> None:
        self._doors = doors
        self._recorder = recorder
        self._lag = lag
        self._terms = terms

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not collect to know the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures as they are."""
        yield from self._durations()
        yield from self._counts()
        yield from self._health()
        yield from self._open()
        yield from self._limits()

    def _durations(self) -> Iterable[Metric]:
        recorder = self._recorder
        for name, text, buckets in (
            ("upbeat_store_commit_seconds", "Commits of the store.", recorder.commit.buckets),
            ("upbeat_loop_turn_seconds", "Steps of one turn of the loop.", recorder.turn.buckets),
            ("upbeat_dispatch_seconds", "From the turn to the agent's stream.", recorder.dispatch.buckets),
            ("upbeat_event_loop_lag_seconds", "How late the event loop wakes.", self._lag.seconds),
        ):
            family = HistogramMetricFamily(name, text)
            family.add_metric((), buckets.cumulative(), buckets.sum)
            yield family

    def _counts(self) -> Iterable[Metric]:
        recorder = self._recorder
        yield CounterMetricFamily("upbeat_loop_events", "Events stepped.", value=recorder.events)
        yield CounterMetricFamily("upbeat_store_rows", "Rows committed.", value=recorder.rows)
        yield CounterMetricFamily(
            "upbeat_assignments", "Assignments handed to streams.", value=recorder.assigned_tasks
        )
        yield CounterMetricFamily(
            "upbeat_purge_failures", "Purges of finished tasks that failed.", value=recorder.purges_failed
        )
        failures = CounterMetricFamily(
            "upbeat_store_commit_failures", "Commits that failed.", labels=("reason",)
        )
        for reason in dict.fromkeys((*COMMIT_FAILURES, *recorder.commits_failed)):
            failures.add_metric((reason,), recorder.commits_failed[reason])
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

    def _health(self) -> Iterable[Metric]:
        recorder = self._recorder
        yield GaugeMetricFamily(
            "upbeat_ready", "1 while new work is taken.", value=0 if self._terms.unready() else 1
        )
        yield GaugeMetricFamily(
            "upbeat_store_healthy", "1 while commits succeed.", value=1 if recorder.store_healthy else 0
        )
        files = GaugeMetricFamily("upbeat_store_file_bytes", "Size of the store's files.", labels=("file",))
        for name, size in _file_bytes(self._terms.store_file).items():
            files.add_metric((name,), size)
        yield files
        yield GaugeMetricFamily(
            "upbeat_uptime_seconds", "Since the start.", value=recorder.now_s() - recorder.began_s
        )
        build = GaugeMetricFamily("upbeat_build_info", "1, with the version.", labels=("version",))
        build.add_metric((self._terms.version,), 1)
        yield build

    def _open(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("upbeat_inbox_items", "Items for the loop.", value=self._doors.inbox_items)
        streams = GaugeMetricFamily("upbeat_open_streams", "Open streams.", labels=("kind",))
        open_streams = self._doors.open_streams
        for kind, count in open_streams.items():
            streams.add_metric((kind,), count)
        yield streams
        tasks = GaugeMetricFamily(
            "upbeat_event_loop_tasks",
            "Tasks of the event loop that scrapes; not counted where very many streams are open.",
        )
        if sum(open_streams.values()) <= STREAMS_COUNTED_MAX:
            tasks.add_metric((), _event_loop_tasks())
        yield tasks

    def _limits(self) -> Iterable[Metric]:
        """What a namespace is allowed, so that rules need not repeat it."""
        limits = self._terms.limits
        for name, text, value in (
            (
                "upbeat_tasks_limit",
                "Unfinished tasks that a namespace may have.",
                limits.bounds.queue_tasks_max,
            ),
            ("upbeat_queue_bytes_limit", "Bytes that they may have.", limits.bounds.queue_bytes_max),
            ("upbeat_agents_limit", "Agents that a namespace may have.", limits.bounds.agents_max),
            (
                "upbeat_bus_dead_letters_limit",
                "Dead letters that a namespace keeps; the oldest go first.",
                limits.bus.dead_letters_max,
            ),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        overdue = GaugeMetricFamily(
            "upbeat_queue_overdue_seconds",
            "How long a task may wait before it overtakes higher classes.",
            labels=("priority",),
        )
        for priority in Priority:
            if age_ms := limits.ordering.overdue_ms(priority):
                overdue.add_metric((priority.name,), age_ms / 1_000)
        yield overdue


def _file_bytes(store_file: Path | None) -> dict[str, int]:
    """Sizes of what is there: the database and its write-ahead log."""
    if store_file is None:
        return {}
    sizes = {}
    for name, path in (("database", store_file), ("log", store_file.with_name(f"{store_file.name}-wal"))):
        try:
            sizes[name] = path.stat().st_size
        except OSError:
            continue  # Moved away, or not there yet.
    return sizes


def _event_loop_tasks() -> int:
    """How many tasks have not ended on the loop of the caller; 0 beside a loop."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0
