"""What is told of finished tasks that are forgotten, or should be."""

from __future__ import annotations

from typing import ClassVar

from tests.support.hand_clock import HandClock
from tests.support.runtime import Worker, submit, until
from upbeat_server.engine.limits import Limits, Retention
from upbeat_server.engine.model import Priority
from upbeat_server.runtime.orchestrator import Orchestrator
from upbeat_server.store.memory import MemoryStore
from upbeat_server.store.store import Purged, StoreUnavailable
from upbeat_server.telemetry.recorder import Recorder

LIMITS = Limits(retention=Retention(finished_ms=1_000, purge_interval_ms=100))


class FullStore(MemoryStore):
    """Cannot even forget."""

    error: ClassVar[StoreUnavailable] = StoreUnavailable("the disk is full")

    async def purge(self, namespace: str, before_ms: int, keep: int, limit: int) -> Purged:
        raise self.error


async def test_what_was_forgotten_is_counted() -> None:
    clock, recorder = HandClock(), Recorder()
    orchestrator = Orchestrator(MemoryStore(), clock, LIMITS, None, recorder)
    await orchestrator.start()
    for _ in range(3):
        await orchestrator.cancel("default", await submit(orchestrator))
    clock.move(5_000)
    orchestrator.wake()
    await until(lambda: recorder.of("default").purged == 3)
    assert recorder.purges_failed == 0
    await orchestrator.stop()


async def test_a_store_that_cannot_forget_is_told_of() -> None:
    clock, recorder = HandClock(), Recorder()
    orchestrator = Orchestrator(FullStore(), clock, LIMITS, None, recorder)
    await orchestrator.start()
    await submit(orchestrator)
    clock.move(5_000)
    orchestrator.wake()
    await until(lambda: recorder.purges_failed)
    assert recorder.of("default").purged == 0
    await orchestrator.stop()


async def test_a_wait_is_told_when_it_ends_and_not_when_the_task_does() -> None:
    clock, recorder = HandClock(), Recorder()
    orchestrator = Orchestrator(MemoryStore(), clock, LIMITS, None, recorder)
    await orchestrator.start()
    await submit(orchestrator, priority=Priority.HIGH)
    clock.move(4_000)
    await Worker(orchestrator).connect()
    await until(lambda: recorder.assigned_tasks)
    ((priority, task_type, figures),) = recorder.of("default").typed.items()
    assert (priority, task_type) == (Priority.HIGH, "echo")
    assert figures.wait.sum == 4
    assert sum(figures.total.counts) == 0
    await orchestrator.stop()
