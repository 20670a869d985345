"""What the runtime reports becomes figures."""

from __future__ import annotations

from upbeat_server.engine.model import Attempt, AttemptOutcome, TaskRecord, TaskSpec, TaskState
from upbeat_server.engine.queue import Signature
from upbeat_server.engine.task import Task
from upbeat_server.runtime.observer import Observer
from upbeat_server.telemetry.recorder import Recorder

SPEC = TaskSpec(type="t")


def finished(record: TaskRecord) -> Task:
    """The live task with this record."""
    return Task(record, SPEC, Signature(("t", (), ""), None))


def record(state: TaskState, start_ms: int = 2_000) -> TaskRecord:
    """A task that was submitted at 1,000 ms, leased at 2,000 ms and ended at 5,000 ms."""
    attempt = Attempt(1, "a", start_ms=3_000, end_ms=5_000, outcome=AttemptOutcome.COMPLETED)
    return TaskRecord(
        task_id=1, state=state, create_ms=1_000, start_ms=start_ms, end_ms=5_000, attempts=[attempt]
    )


def test_it_is_what_the_runtime_asks_for() -> None:
    observer: Observer = Recorder()
    assert observer is not None


def test_a_completed_task_has_waited_run_and_ended() -> None:
    recorder = Recorder(stopwatch=lambda: 10.0)
    recorder.tasks_finished("default", [finished(record(TaskState.COMPLETED))])
    figures = recorder.of("default")
    assert figures.wait.summary(10).largest == 1
    assert figures.run.summary(10).largest == 2
    assert figures.total.summary(10).largest == 4
    assert (figures.completed.count, figures.failed.count) == (1, 0)


def test_a_failed_task_counts_as_failed_and_has_no_accepted_run() -> None:
    recorder = Recorder(stopwatch=lambda: 10.0)
    recorder.tasks_finished("default", [finished(record(TaskState.FAILED))])
    figures = recorder.of("default")
    assert (figures.completed.count, figures.failed.count) == (0, 1)
    assert figures.run.summary(10).count == 0


def test_a_task_that_never_started_has_not_waited_for_a_lease() -> None:
    recorder = Recorder(stopwatch=lambda: 10.0)
    recorder.tasks_finished("default", [finished(record(TaskState.CANCELLED, start_ms=0))])
    figures = recorder.of("default")
    assert figures.wait.summary(10).count == 0
    assert figures.total.summary(10).count == 1


def test_namespaces_are_kept_apart() -> None:
    recorder = Recorder()
    recorder.submitted("a", 3)
    recorder.submitted("b", 4)
    assert recorder.of("a").submitted.count == 3
    assert recorder.of("b").submitted.count == 4


def test_the_loop_and_the_store_are_counted() -> None:
    recorder = Recorder()
    recorder.turned(0.001, 5)
    recorder.committed(0.002, 7)
    recorder.commit_failed("unavailable")
    recorder.assigned("default", [finished(record(TaskState.RUNNING))] * 3)
    recorder.dispatched(0.003, 3)
    recorder.refused("default", "QUEUE_FULL")
    recorder.stream_ended("agent", "FENCED")
    assert (recorder.events, recorder.rows, recorder.assigned_tasks) == (5, 7, 3)
    assert recorder.commits_failed == {"unavailable": 1}
    assert recorder.refusals == {("default", "QUEUE_FULL"): 1}
    assert recorder.streams_ended == {("agent", "FENCED"): 1}
    assert recorder.commit.buckets.sum == 0.002


def test_purges_are_counted() -> None:
    recorder = Recorder()
    recorder.purged("default", 7)
    recorder.purged("default", 2)
    recorder.purge_failed()
    assert recorder.of("default").purged == 9
    assert recorder.purges_failed == 1


def test_rates_and_percentiles_are_over_all_priorities_and_types() -> None:
    recorder = Recorder(stopwatch=lambda: 10.0)
    tasks = [finished(record(TaskState.COMPLETED)), finished(record(TaskState.FAILED))]
    for number, task in enumerate(tasks):
        task.spec = TaskSpec(type=f"t{number}")
    recorder.tasks_finished("default", tasks)
    figures = recorder.of("default")
    assert (figures.completed.count, figures.failed.count) == (1, 1)
    assert figures.total.summary(10).count == 2
    assert figures.wait.summary(10).count == 2


def test_a_store_that_fails_and_heals_is_told_on() -> None:
    told: list[bool] = []
    recorder = Recorder()
    recorder.on_store_health = lambda: told.append(recorder.store_healthy)
    recorder.store_health(False)
    recorder.store_health(True)
    assert told == [False, True]
