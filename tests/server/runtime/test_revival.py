"""A store that breaks again while it is being opened again, and on the first use of a namespace."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.runtime.test_orchestrator import FAST_RETRY, refusal_of
from tests.support.hand_clock import HandClock
from tests.support.runtime import Worker, running, settle, submission, submit, until
from tests.support.troubled_store import TroubledStore
from upbeat_server.engine import reasons
from upbeat_server.engine.limits import Limits, Retention
from upbeat_server.engine.model import TaskState
from upbeat_server.runtime import loop as loop_module
from upbeat_server.runtime.bounds import LoopBounds, RuntimeBounds
from upbeat_server.store.store import (
    Adoption,
    NamespaceBatch,
    OutcomeUnknown,
    Purged,
    StoreInvalid,
    StoreUnavailable,
)

HOURS_MS = 10_000_000
SLOW_RETRY = RuntimeBounds(loop=LoopBounds(retry_first_ms=HOURS_MS, retry_last_ms=HOURS_MS))


class BreakingStore(TroubledStore):
    """As the real one: after an unknown outcome nothing is written until it was opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.next_adoptions: list[Exception] = []
        self.next_openings: list[Exception] = []
        self.breaks_at_purge = False
        self._is_broken = False

    async def open(self) -> None:
        if self.next_openings:
            raise self.next_openings.pop(0)
        self._is_broken = False
        await super().open()

    async def adopt(self, namespace: str) -> Adoption:
        self._check()
        if self.next_adoptions:
            error = self.next_adoptions.pop(0)
            self._is_broken = isinstance(error, OutcomeUnknown)
            raise error
        return await super().adopt(namespace)

    async def commit(self, batches: list[NamespaceBatch]) -> None:
        self._check()
        try:
            await super().commit(batches)
        except OutcomeUnknown:
            self._is_broken = True
            raise

    async def purge(self, namespace: str, before_ms: int, keep: int, limit: int) -> Purged:
        if self.breaks_at_purge:
            self.breaks_at_purge, self._is_broken = False, True
        self._check()
        return await super().purge(namespace, before_ms, keep, limit)

    def _check(self) -> None:
        if self._is_broken:
            raise OutcomeUnknown("open the store anew")


async def test_a_store_that_breaks_on_the_first_use_of_a_namespace_is_opened_again() -> None:
    store = BreakingStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        store.next_adoptions = [OutcomeUnknown("I/O error")]
        refusal = await refusal_of(orchestrator.submit("default", [submission("r1")]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE
        assert refusal.retry_ms > 0
        await until(lambda: store.opened == 2 and orchestrator.store_is_healthy)
        await submit(orchestrator, "r1")


async def test_other_namespaces_live_on_when_one_cannot_be_opened() -> None:
    store = BreakingStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        task_id = await submit(orchestrator, "r1")
        store.next_adoptions = [OutcomeUnknown("I/O error")]
        await refusal_of(orchestrator.submit("other", [submission("r1")]))
        assert (await orchestrator.get("default", task_id)).record.state == TaskState.QUEUED
        await until(lambda: store.opened == 2 and orchestrator.store_is_healthy)
        assert await submit(orchestrator, "r1") == task_id


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("I/O error again"),
        StoreUnavailable("disk full"),
        StoreInvalid("a record is damaged"),
        OSError(5, "Input/output error"),
        ValueError("a planted defect"),
    ],
)
@pytest.mark.parametrize("where", ["open", "adopt"])
async def test_whatever_goes_wrong_while_a_namespace_is_read_again_is_tried_again(
    error: Exception, where: str
) -> None:
    store = BreakingStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        task_id = await submit(orchestrator, "old")
        store.fail(OutcomeUnknown("I/O error"))
        (store.next_openings if where == "open" else store.next_adoptions).append(error)
        await refusal_of(orchestrator.submit("default", [submission("r1")]))
        await until(lambda: orchestrator.names and orchestrator.store_is_healthy)
        assert (await orchestrator.get("default", task_id)).record.state == TaskState.QUEUED
        await submit(orchestrator, "r1")


async def test_a_store_that_breaks_at_every_commit_is_not_opened_again_at_once() -> None:
    store = BreakingStore()
    async with running(store, bounds=SLOW_RETRY) as orchestrator:
        await submit(orchestrator, "old")
        store.fail(OutcomeUnknown("I/O error"))
        await refusal_of(orchestrator.submit("default", [submission("r1")]))
        await until(lambda: orchestrator.names and orchestrator.store_is_healthy)
        store.fail(OutcomeUnknown("I/O error"))
        await refusal_of(orchestrator.submit("default", [submission("r1")]))
        await settle(200)
        assert store.opened == 2
        assert not orchestrator.store_is_healthy
        refusal = await refusal_of(orchestrator.submit("default", [submission("r1")]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE


async def test_a_commit_in_between_ends_the_patience_with_a_store() -> None:
    store = BreakingStore()
    async with running(store, bounds=SLOW_RETRY) as orchestrator:
        await submit(orchestrator, "first")
        for number in range(3):
            store.fail(OutcomeUnknown("I/O error"))
            await refusal_of(orchestrator.submit("default", [submission(f"r{number}")]))
            await until(lambda: orchestrator.names and orchestrator.store_is_healthy)
            await submit(orchestrator, f"r{number}")
        assert store.opened == 4


async def test_a_purge_of_unknown_outcome_has_the_namespace_read_again() -> None:
    store, clock = BreakingStore(), HandClock()
    limits = Limits(retention=Retention(finished_tasks_max=0, purge_interval_ms=1_000))
    async with running(store, clock, limits, FAST_RETRY) as orchestrator:
        waiting = await submit(orchestrator, "r1")
        worker = await Worker(orchestrator).connect()
        await worker.finish(await worker.lease())
        await worker.parcel()
        store.breaks_at_purge = True
        clock.move(1_000)
        orchestrator.wake()
        await until(lambda: store.opened == 2 and orchestrator.names and orchestrator.store_is_healthy)
        assert waiting != await submit(orchestrator, "r2")


async def test_who_waited_for_a_namespace_that_breaks_at_once_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_step = vars(loop_module)["step"]

    def broken(engine: Any, event: Any, now_ms: int) -> Any:
        monkeypatch.setattr(loop_module, "step", real_step)
        raise AssertionError("a planted defect")

    async with running() as orchestrator:
        monkeypatch.setattr(loop_module, "step", broken)
        refusal = await refusal_of(orchestrator.submit("new", [submission()]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE
        await until(lambda: orchestrator.names)
        await orchestrator.submit("new", [submission()])
