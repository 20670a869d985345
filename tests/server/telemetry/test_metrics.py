"""What a scrape shows: every metric once, real figures, bounded labels."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from prometheus_client.exposition import choose_encoder, generate_latest

from upbeat_server.engine.census import BusCensus, Census
from upbeat_server.telemetry.metrics import Metrics
from upbeat_server.telemetry.recorder import Recorder

COUNTED = Census(
    live={1: 4, 2: 5, 3: 6},
    finished={4: 7, 5: 8, 6: 9},
    submitted=39,
    attempts={0: 0, 1: 7, 2: 1, 3: 0, 4: 2, 5: 0, 6: 0},
    retries=1,
    leases_lost=2,
    queue_depth={1: 0, 2: 5, 3: 0, 4: 0},
    oldest_age_ms={1: 0, 2: 1_500, 3: 0, 4: 0},
    agents={1: 3, 2: 1, 3: 0, 4: 0},
    slots=12,
    slots_in_use=6,
    queue_bytes=1_000,
    signatures=2,
    bus=BusCensus(9, 8, 7, 6, 5, 4, 3, 2, 1),
)


class CountedFleet:
    """One namespace with known counts; `gone` has just been dropped."""

    names: ClassVar[list[str]] = ["default", "gone"]
    inbox_items = 11
    open_streams: ClassVar[dict[str, int]] = {"agent": 3, "watch": 1}

    def census(self, name: str) -> Census | None:
        return COUNTED if name == "default" else None


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def metrics(recorder: Recorder) -> Metrics:
    return Metrics(CountedFleet(), recorder, "upbeat/1.2.3")


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("upbeat_tasks", {"state": "QUEUED"}, 5),
        ("upbeat_tasks_finished_total", {"state": "COMPLETED"}, 7),
        ("upbeat_tasks_submitted_total", {}, 39),
        ("upbeat_attempts_total", {"outcome": "LEASE_LOST"}, 2),
        ("upbeat_retries_total", {}, 1),
        ("upbeat_leases_lost_total", {}, 2),
        ("upbeat_queue_tasks", {"priority": "NORMAL"}, 5),
        ("upbeat_queue_oldest_age_seconds", {"priority": "NORMAL"}, 1.5),
        ("upbeat_queue_bytes", {}, 1_000),
        ("upbeat_signatures", {}, 2),
        ("upbeat_agents", {"state": "SUSPECT"}, 1),
        ("upbeat_slots", {}, 12),
        ("upbeat_slots_in_use", {}, 6),
        ("upbeat_bus_published_total", {}, 9),
        ("upbeat_bus_delivered_total", {}, 8),
        ("upbeat_bus_acked_total", {}, 7),
        ("upbeat_bus_redelivered_total", {}, 6),
        ("upbeat_bus_dead_lettered_total", {}, 5),
        ("upbeat_bus_topics", {}, 4),
        ("upbeat_bus_subscribers", {}, 3),
        ("upbeat_bus_messages", {}, 2),
        ("upbeat_bus_dead_letters", {}, 1),
    ],
)
def test_a_namespace_shows_its_census(
    metrics: Metrics, name: str, labels: dict[str, str], value: float
) -> None:
    assert metrics.registry.get_sample_value(name, {"namespace": "default"} | labels) == value


def test_the_server_shows_its_figures(metrics: Metrics, recorder: Recorder) -> None:
    recorder.committed(0.003, 5)
    recorder.turned(0.001, 9)
    recorder.assigned("default", 2)
    recorder.commit_failed("unavailable")
    recorder.refused("default", "QUEUE_FULL")
    recorder.stream_ended("watch", "SLOW_READER")
    recorder.store_health(False)
    sample = metrics.registry.get_sample_value
    assert sample("upbeat_store_commit_seconds_count") == 1
    assert sample("upbeat_store_commit_seconds_bucket", {"le": "0.005"}) == 1
    assert sample("upbeat_store_commit_seconds_bucket", {"le": "0.0025"}) == 0
    assert sample("upbeat_loop_events_total") == 9
    assert sample("upbeat_store_rows_total") == 5
    assert sample("upbeat_assignments_total") == 2
    assert sample("upbeat_store_commit_failures_total", {"reason": "unavailable"}) == 1
    assert sample("upbeat_submissions_refused_total", {"namespace": "default", "reason": "QUEUE_FULL"}) == 1
    assert sample("upbeat_streams_ended_total", {"kind": "watch", "reason": "SLOW_READER"}) == 1
    assert sample("upbeat_store_healthy") == 0
    assert sample("upbeat_inbox_items") == 11
    assert sample("upbeat_open_streams", {"kind": "agent"}) == 3
    assert sample("upbeat_build", {"version": "upbeat/1.2.3"}) == 1
    assert sample("upbeat_uptime_seconds") is not None


def test_both_formats_can_be_written(metrics: Metrics, recorder: Recorder) -> None:
    recorder.committed(0.003, 5)
    recorder.submitted("default", 1)
    openmetrics, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert b"upbeat_store_commit_seconds_bucket" in generate_latest(metrics.registry)
    assert openmetrics(metrics.registry).endswith(b"# EOF\n")


def test_every_metric_is_declared_once_and_says_what_it_is(metrics: Metrics) -> None:
    families = list(metrics.registry.collect())
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families)


def test_process_and_interpreter_are_shown_too(metrics: Metrics) -> None:
    names = {family.name for family in metrics.registry.collect()}
    assert {"python_info", "process_cpu_seconds", "python_gc_collections"} <= names


async def test_the_tasks_of_the_event_loop_are_counted(metrics: Metrics) -> None:
    def counted() -> float:
        return metrics.registry.get_sample_value("upbeat_event_loop_tasks") or 0

    before = counted()
    never = asyncio.Event()
    waiting = [asyncio.create_task(never.wait()) for _ in range(3)]
    assert counted() == before + 3
    never.set()
    await asyncio.gather(*waiting)
    assert counted() == before


def test_beside_an_event_loop_no_task_is_counted(metrics: Metrics) -> None:
    assert metrics.registry.get_sample_value("upbeat_event_loop_tasks") == 0
