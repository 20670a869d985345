"""What a scrape shows: every metric once, real figures, bounded labels."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest
from prometheus_client.exposition import choose_encoder, generate_latest

from upbeat_server.engine.census import BusCensus, Census, TypeCensus
from upbeat_server.engine.limits import Bounds, Limits
from upbeat_server.engine.model import (
    Attempt,
    AttemptOutcome,
    Priority,
    TaskRecord,
    TaskSpec,
    TaskState,
    Usage,
)
from upbeat_server.engine.queue import Signature
from upbeat_server.engine.task import Task
from upbeat_server.telemetry.loop_lag import LoopLag
from upbeat_server.telemetry.metrics import Metrics
from upbeat_server.telemetry.recorder import Recorder
from upbeat_server.telemetry.server_metrics import Terms
from upbeat_server.telemetry.task_figures import COLLABORATION, OTHER

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
    groups={"consensus": 2},
    groups_ended={"consensus": {4: 5, 5: 1, 6: 0}, "fan": {4: 0, 5: 0, 6: 3}},
    hedges=4,
    wasted_ms=1_500,
    bus=BusCensus(9, 8, 7, 6, 5, 4, 3, 2, 1),
    types={"rare": TypeCensus(0, 1, 0, 1), "rarer": TypeCensus(0, 0, 2), "frequent": TypeCensus(3, 4, 5)},
)


class CountedFleet:
    """One namespace with known counts; `gone` has just been dropped."""

    names: ClassVar[list[str]] = ["default", "gone"]
    inbox_items = 11
    open_streams: ClassVar[dict[str, int]] = {"agent": 3, "watch": 1}

    def census(self, name: str) -> Census | None:
        return COUNTED if name == "default" else None


def task(task_type: str, state: TaskState = TaskState.COMPLETED, priority: Priority = Priority.HIGH) -> Task:
    """A task that was queued at 1,000 ms, leased at 2,000 ms and ended at 5,000 ms."""
    attempt = Attempt(1, "a", start_ms=3_000, end_ms=5_000, outcome=AttemptOutcome.COMPLETED)
    record = TaskRecord(
        task_id=1,
        state=state,
        create_ms=500,
        queued_since_ms=1_000,
        start_ms=2_000,
        end_ms=5_000,
        attempt=1,
        attempts=[attempt],
    )
    return Task(record, TaskSpec(type=task_type, priority=priority), Signature((task_type, (), ""), None))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(types_max=2)


@pytest.fixture
def metrics(recorder: Recorder) -> Metrics:
    limits = Limits(bounds=Bounds(queue_tasks_max=5, queue_bytes_max=6, agents_max=7))
    return Metrics(CountedFleet(), recorder, LoopLag(), Terms("upbeat/1.2.3", limits))


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("upbeat_tasks", {"state": "QUEUED"}, 5),
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
        ("upbeat_collaborations", {"mode": "consensus"}, 2),
        ("upbeat_collaborations", {"mode": "fan"}, 0),
        ("upbeat_collaborations_finished_total", {"mode": "fan", "state": "CANCELLED"}, 3),
        ("upbeat_hedges_total", {}, 4),
        ("upbeat_wasted_seconds_total", {}, 1.5),
        ("upbeat_type_tasks", {"type": "frequent", "state": "PENDING"}, 3),
        ("upbeat_type_tasks", {"type": "frequent", "state": "QUEUED"}, 4),
        ("upbeat_type_tasks", {"type": "frequent", "state": "RUNNING"}, 5),
        ("upbeat_type_tasks", {"type": OTHER, "state": "QUEUED"}, 1),
        ("upbeat_type_unserved_tasks", {"type": OTHER}, 1),
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
    recorder.assigned("default", [task("t")] * 2)
    recorder.purged("default", 3)
    recorder.purge_failed()
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
    assert sample("upbeat_build_info", {"version": "upbeat/1.2.3"}) == 1
    assert sample("upbeat_tasks_purged_total", {"namespace": "default"}) == 3
    assert sample("upbeat_purge_failures_total") == 1
    assert sample("upbeat_store_commit_failures_total", {"reason": "unknown"}) == 0
    assert sample("upbeat_ready") == 1
    assert sample("upbeat_event_loop_lag_seconds_count") == 0
    assert sample("upbeat_uptime_seconds") is not None


def test_tasks_are_counted_by_priority_and_type(metrics: Metrics, recorder: Recorder) -> None:
    recorder.assigned("default", [task("t")])
    recorder.tasks_finished(
        "default", [task("t"), task("t", TaskState.FAILED), task("t", priority=Priority.LOW)]
    )
    sample = metrics.registry.get_sample_value
    place = {"namespace": "default", "priority": "HIGH", "type": "t"}
    assert sample("upbeat_tasks_finished_total", place | {"state": "COMPLETED"}) == 1
    assert sample("upbeat_tasks_finished_total", place | {"state": "FAILED"}) == 1
    assert sample("upbeat_tasks_finished_total", place | {"state": "CANCELLED"}) == 0
    assert sample("upbeat_task_wait_seconds_sum", place) == 1
    assert sample("upbeat_task_total_seconds_sum", place) == 9
    assert sample("upbeat_task_run_seconds_sum", {"namespace": "default", "type": "t"}) == 4


def test_what_tasks_used_is_summed_over_priorities_and_not_again_for_their_collaboration(
    metrics: Metrics, recorder: Recorder
) -> None:
    ended = [task("t"), task("t", priority=Priority.LOW), task(""), task("u")]
    for used in ended[:3]:
        used.record.usage = Usage(input_tokens=10, output_tokens=2, cost_micros=500_000)
    recorder.tasks_finished("default", ended)
    sample = metrics.registry.get_sample_value
    place = {"namespace": "default", "type": "t"}
    assert sample("upbeat_tokens_total", place | {"direction": "input"}) == 20
    assert sample("upbeat_tokens_total", place | {"direction": "output"}) == 4
    assert sample("upbeat_cost_total", place) == 1
    assert sample("upbeat_cost_total", place | {"type": "u"}) == 0
    assert sample("upbeat_cost_total", place | {"type": COLLABORATION}) is None


def test_a_collaboration_is_counted_without_a_type_and_neither_waits_nor_runs(
    metrics: Metrics, recorder: Recorder
) -> None:
    recorder.tasks_finished("default", [task("")])
    sample = metrics.registry.get_sample_value
    place = {"namespace": "default", "priority": "HIGH", "type": COLLABORATION}
    assert sample("upbeat_tasks_finished_total", place | {"state": "COMPLETED"}) == 1
    assert sample("upbeat_task_total_seconds_sum", place) == 4.5
    assert sample("upbeat_task_wait_seconds_sum", place) is None
    assert sample("upbeat_task_run_seconds_sum", {"namespace": "default", "type": COLLABORATION}) is None


def test_a_type_that_was_named_stays_with_nothing_in_it(metrics: Metrics, recorder: Recorder) -> None:
    recorder.tasks_finished("default", [task("gone")])
    sample = metrics.registry.get_sample_value
    place = {"namespace": "default", "state": "RUNNING"}
    assert sample("upbeat_type_tasks", place | {"type": "gone"}) == 0
    assert sample("upbeat_type_tasks", place | {"type": "frequent"}) == 5
    assert sample("upbeat_type_tasks", place | {"type": OTHER}) == 2


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("upbeat_tasks_limit", {}, 5),
        ("upbeat_queue_bytes_limit", {}, 6),
        ("upbeat_agents_limit", {}, 7),
        ("upbeat_bus_dead_letters_limit", {}, 10_000),
        ("upbeat_queue_overdue_seconds", {"priority": "HIGH"}, 15),
        ("upbeat_queue_overdue_seconds", {"priority": "CRITICAL"}, None),
    ],
)
def test_rules_can_read_what_a_namespace_is_allowed(
    metrics: Metrics, name: str, labels: dict[str, str], value: float | None
) -> None:
    assert metrics.registry.get_sample_value(name, labels) == value


def test_a_server_that_takes_no_work_is_not_ready(recorder: Recorder) -> None:
    terms = Terms("upbeat", unready=lambda: ["draining"])
    metrics = Metrics(CountedFleet(), recorder, LoopLag(), terms)
    assert metrics.registry.get_sample_value("upbeat_ready") == 0


def test_the_files_of_the_store_are_weighed(recorder: Recorder, tmp_path: Path) -> None:
    store_file = tmp_path / "upbeat.db"
    metrics = Metrics(CountedFleet(), recorder, LoopLag(), Terms("upbeat", store_file=store_file))
    sample = metrics.registry.get_sample_value
    assert sample("upbeat_store_file_bytes", {"file": "database"}) is None
    store_file.write_bytes(b"12345")
    (tmp_path / "upbeat.db-wal").write_bytes(b"123")
    assert sample("upbeat_store_file_bytes", {"file": "database"}) == 5
    assert sample("upbeat_store_file_bytes", {"file": "log"}) == 3


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


def test_where_very_many_streams_are_open_tasks_are_not_counted(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CountedFleet.open_streams, "agent", 10_000)
    assert metrics.registry.get_sample_value("upbeat_event_loop_tasks") is None


def test_beside_an_event_loop_no_task_is_counted(metrics: Metrics) -> None:
    assert metrics.registry.get_sample_value("upbeat_event_loop_tasks") == 0
