"""The loop with its parts: what is durable when, and what happens when the store fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.hand_clock import HandClock
from tests.support.runtime import PATIENCE_S, Worker, running, settle, submission, submit, until
from tests.support.troubled_store import TroubledStore
from upbeat_server.engine import reasons
from upbeat_server.engine.events import AttemptEnded
from upbeat_server.engine.limits import Limits, Retention
from upbeat_server.engine.model import Payload, Refusal, ResultOutcome, TaskId, TaskState, lease_of
from upbeat_server.runtime import loop as loop_module
from upbeat_server.runtime.bounds import LoopBounds, RuntimeBounds, StreamBounds, WatchBounds
from upbeat_server.runtime.orchestrator import Orchestrator
from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.snapshot import TaskSnapshot
from upbeat_server.store import codec
from upbeat_server.store.store import OutcomeUnknown, StaleEpoch, StoreUnavailable, TaskQuery

FAST_RETRY = RuntimeBounds(loop=LoopBounds(retry_first_ms=1, retry_last_ms=1))


async def refusal_of(call: Any) -> Refusal:
    """The refusal that a call raises."""
    with pytest.raises(Refused) as caught:
        async with asyncio.timeout(PATIENCE_S):
            await call
    return caught.value.refusal


async def test_a_task_goes_to_an_agent_and_comes_back() -> None:
    async with running() as orchestrator:
        task_id = await submit(orchestrator, input=Payload("text/plain", b"hello"))
        worker = await Worker(orchestrator).connect()
        lease_id = await worker.lease()
        assert lease_id == lease_of(task_id, 1)
        await worker.finish(lease_id, b"olleh")
        answers = (await worker.parcel()).answers
        assert [(answer.lease, answer.outcome) for answer in answers] == [(lease_id, ResultOutcome.ACCEPTED)]
        task = await orchestrator.get("default", task_id)
        assert task.record.state == TaskState.COMPLETED
        assert task.record.output == Payload("", b"olleh")
        assert task.spec.input.data == b"hello"


async def test_nothing_is_answered_and_nothing_is_read_before_the_commit() -> None:
    store = TroubledStore()
    async with running(store) as orchestrator:
        worker = await Worker(orchestrator).connect()
        store.hold()
        call = asyncio.create_task(orchestrator.submit("default", [submission("r1")]))
        await store.tried.wait()
        await settle()
        assert not call.done()
        assert not worker.session.outbox._has_any()
        task_id = next(iter(orchestrator._catalog.all()[0].engine.tasks))
        assert (await refusal_of(orchestrator.get("default", task_id))).reason == reasons.TASK_NOT_FOUND
        assert await orchestrator.list_tasks("default", TaskQuery(), 10) == []
        store.release()
        (answer,) = await call
        assert isinstance(answer, TaskSnapshot)
        assert await worker.lease() == lease_of(task_id, 1)


async def test_a_result_is_acknowledged_after_its_commit_and_read_as_before_until_then() -> None:
    store = TroubledStore()
    async with running(store) as orchestrator:
        worker = await Worker(orchestrator).connect()
        task_id = await submit(orchestrator)
        lease_id = await worker.lease()
        store.hold()
        await worker.finish(lease_id)
        await store.tried.wait()
        await settle()
        assert not worker.session.outbox._has_any()
        assert (await orchestrator.get("default", task_id)).record.state == TaskState.RUNNING
        waiting = asyncio.create_task(orchestrator.get("default", task_id, wait_ms=60_000))
        await settle()
        store.release()
        assert (await waiting).record.state == TaskState.COMPLETED
        assert (await worker.parcel()).answers


async def test_a_store_that_cannot_commit_refuses_work_serves_reads_and_heals() -> None:
    store = TroubledStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        old_id = await submit(orchestrator, "old")
        store.fail(StoreUnavailable("disk full"))
        refusal = await refusal_of(orchestrator.submit("default", [submission("r1")]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE
        assert refusal.retry_ms > 0
        assert not orchestrator.store_is_healthy
        at_the_door = await refusal_of(orchestrator.submit("default", [submission("r2")]))
        assert at_the_door.reason == reasons.STORE_UNAVAILABLE
        assert (await orchestrator.get("default", old_id)).record.state == TaskState.QUEUED
        assert len(await orchestrator.list_tasks("default", TaskQuery(), 10)) == 1
        store.heal()
        await until(lambda: orchestrator.store_is_healthy)
        first = await submit(orchestrator, "r1")
        assert first == await submit(orchestrator, "r1")
        assert len(await orchestrator.list_tasks("default", TaskQuery(), 10)) == 2


async def test_an_agent_is_sent_nothing_of_a_batch_that_is_not_durable() -> None:
    store = TroubledStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        worker = await Worker(orchestrator).connect()
        store.fail(StoreUnavailable("read-only"))
        await refusal_of(orchestrator.submit("default", [submission("r1")]))
        await settle()
        assert not worker.session.outbox._has_any()
        store.heal()
        assert await worker.lease()
        assert worker.session.closed.done() is False


@pytest.mark.parametrize("was_written", [False, True])
async def test_an_unknown_outcome_drops_the_engine_and_reads_the_store_again(was_written: bool) -> None:
    store = TroubledStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        old_id = await submit(orchestrator, "old")
        worker = await Worker(orchestrator).connect()
        lease_id = await worker.lease()
        store.writes_before_failing = was_written
        store.fail(OutcomeUnknown("I/O error"))
        refusal = await refusal_of(orchestrator.submit("default", [submission("r1")]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE
        ended = await worker.ended()
        assert ended is not None
        assert ended.reason == reasons.STORE_UNAVAILABLE
        worker.session.leave()
        await until(lambda: orchestrator.names and orchestrator.store_is_healthy)
        assert store.opened == 2
        assert (await orchestrator.get("default", old_id)).record.state == TaskState.RUNNING
        before = len(await orchestrator.list_tasks("default", TaskQuery(), 10))
        assert before == (2 if was_written else 1)
        task_id = await submit(orchestrator, "r1")
        assert len(await orchestrator.list_tasks("default", TaskQuery(), 10)) == 2
        # The agent comes back with its lease and finishes the work it had.
        again = await Worker(orchestrator).connect([lease_id])
        assert again.welcome is not None
        assert again.welcome.dropped_leases == []
        await again.finish(lease_id)
        assert (await orchestrator.get("default", old_id, 60_000)).record.state == TaskState.COMPLETED
        assert await again.lease() == lease_of(task_id, 1)


async def test_a_stale_epoch_drops_the_engine_and_adopts_again() -> None:
    store = TroubledStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        await submit(orchestrator)
        epoch = orchestrator._catalog.all()[0].engine.epoch
        await store.inner.adopt("default")  # Another owner.
        refusal = await refusal_of(orchestrator.submit("default", [submission()]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE
        await until(lambda: orchestrator.names)
        assert orchestrator._catalog.all()[0].engine.epoch > epoch + 1
        await submit(orchestrator)


async def test_a_defect_of_the_engine_costs_its_namespace_a_restart_and_no_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = TroubledStore()
    async with running(store) as orchestrator:
        task_id = await submit(orchestrator)
        real_step = vars(loop_module)["step"]

        def broken(engine: Any, event: Any, now_ms: int) -> Any:
            monkeypatch.setattr(loop_module, "step", real_step)
            raise AssertionError("a planted defect")

        monkeypatch.setattr(loop_module, "step", broken)
        refusal = await refusal_of(orchestrator.submit("default", [submission()]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE
        await until(lambda: orchestrator.names)
        assert (await orchestrator.get("default", task_id)).record.state == TaskState.QUEUED


async def test_a_restart_restores_what_was_acknowledged_and_adopts_running_work() -> None:
    store, clock = TroubledStore(), HandClock()
    async with running(store, clock) as orchestrator:
        running_id = await submit(orchestrator, "r1")
        lease_id = await (await Worker(orchestrator).connect()).lease()
        queued_id = await submit(orchestrator, "r2", priority=4)
    clock.move(5_000)
    async with running(store, clock) as orchestrator:
        assert orchestrator.names == ["default"]
        assert await submit(orchestrator, "r1") == running_id
        assert (await orchestrator.get("default", queued_id)).spec.priority == 4
        worker = await Worker(orchestrator).connect([lease_id])
        await worker.finish(lease_id)
        done = await orchestrator.get("default", running_id, 60_000)
        assert done.record.state == TaskState.COMPLETED
        assert done.record.attempt == 1


async def test_results_of_finished_tasks_are_answered_from_the_store() -> None:
    async with running() as orchestrator:
        task_id = await submit(orchestrator)
        worker = await Worker(orchestrator).connect()
        lease_id = await worker.lease()
        await worker.finish(lease_id)
        await worker.parcel()
        output = Payload("", b"other")
        unknown_task, unknown_attempt = lease_of(TaskId(99), 1), lease_of(task_id, 7)
        wanted = {
            lease_id: ResultOutcome.ACCEPTED,
            unknown_task: ResultOutcome.UNKNOWN,
            unknown_attempt: ResultOutcome.UNKNOWN,
        }
        await worker.say(results=[AttemptEnded(lease, output) for lease in wanted])
        outcomes: dict[Any, int] = {}
        while len(outcomes) < 3:
            outcomes.update({answer.lease: answer.outcome for answer in (await worker.parcel()).answers})
        assert outcomes == wanted
        other = await Worker(orchestrator, "thief").connect()
        await other.say(results=[AttemptEnded(lease_id, output)])
        assert (await other.parcel()).answers[0].outcome == ResultOutcome.STALE
        done = await orchestrator.get("default", task_id)
        assert done.record.output == Payload("", b"done")


async def test_a_repeated_request_id_of_a_finished_task_answers_it_or_is_refused() -> None:
    async with running() as orchestrator:
        task_id = await submit(orchestrator, "r1")
        worker = await Worker(orchestrator).connect()
        await worker.finish(await worker.lease())
        await orchestrator.get("default", task_id, 60_000)
        assert await submit(orchestrator, "r1") == task_id
        (answer,) = await orchestrator.submit("default", [submission("r1", type="other")])
        assert isinstance(answer, Refusal)
        assert answer.reason == reasons.REQUEST_ID_REUSED


async def test_cancelling_answers_by_the_state_of_the_task() -> None:
    async with running() as orchestrator:
        task_id = await submit(orchestrator)
        cancelled = await orchestrator.cancel("default", task_id, "not wanted")
        assert cancelled.record.state == TaskState.CANCELLED
        again = await orchestrator.cancel("default", task_id)
        assert again.record.state == TaskState.CANCELLED
        done_id = await submit(orchestrator)
        worker = await Worker(orchestrator).connect()
        await worker.finish(await worker.lease())
        await orchestrator.get("default", done_id, 60_000)
        refusal = await refusal_of(orchestrator.cancel("default", done_id))
        assert (refusal.reason, refusal.metadata["state"]) == (reasons.TASK_FINISHED, "COMPLETED")
        missing = await refusal_of(orchestrator.cancel("default", TaskId(1)))
        assert missing.reason == reasons.TASK_NOT_FOUND


async def test_a_wait_that_is_over_answers_the_task_as_it_is() -> None:
    async with running() as orchestrator:
        task_id = await submit(orchestrator)
        assert (await orchestrator.get("default", task_id, 1)).record.state == TaskState.QUEUED
        assert orchestrator._catalog.all()[0].waiters == {}


async def test_a_moved_clock_fires_timers() -> None:
    clock = HandClock()
    async with running(clock=clock) as orchestrator:
        task_id = await submit(orchestrator, queue_timeout_ms=1_000)
        waiting = asyncio.create_task(orchestrator.get("default", task_id, 60_000))
        await settle()
        clock.move(2_000)
        orchestrator.wake()
        done = await waiting
        assert done.record.state == TaskState.FAILED
        assert done.record.error is not None
        assert done.record.error.reason == reasons.QUEUE_TIMEOUT


async def test_old_finished_tasks_are_purged_and_their_request_ids_are_free_again() -> None:
    clock = HandClock()
    limits = Limits(retention=Retention(finished_ms=1_000, purge_interval_ms=100))
    async with running(clock=clock, limits=limits) as orchestrator:
        task_id = await submit(orchestrator, "r1")
        await orchestrator.cancel("default", task_id)
        clock.move(5_000)
        orchestrator.wake()
        engine = orchestrator._catalog.all()[0].engine
        await until(lambda: "r1" not in engine.requests)
        assert (await refusal_of(orchestrator.get("default", task_id))).reason == reasons.TASK_NOT_FOUND
        assert await submit(orchestrator, "r1") != task_id


async def test_a_full_inbox_refuses_calls() -> None:
    store = TroubledStore()
    bounds = RuntimeBounds(loop=LoopBounds(inbox_items_max=3))
    async with running(store, bounds=bounds) as orchestrator:
        await submit(orchestrator)
        store.hold()
        first = asyncio.create_task(orchestrator.submit("default", [submission()]))
        await store.tried.wait()
        waiting = [asyncio.create_task(orchestrator.submit("default", [submission()])) for _ in range(3)]
        await settle()
        refusal = await refusal_of(orchestrator.submit("default", [submission()]))
        assert refusal.reason == reasons.SERVER_BUSY
        assert refusal.retry_ms > 0
        store.release()
        await asyncio.gather(first, *waiting)
        await submit(orchestrator)


async def test_namespaces_are_bounded_and_reading_opens_none() -> None:
    bounds = RuntimeBounds(loop=LoopBounds(namespaces_max=2))
    async with running(bounds=bounds) as orchestrator:
        assert (await refusal_of(orchestrator.get("nobody", TaskId(5)))).reason == reasons.TASK_NOT_FOUND
        assert await orchestrator.list_tasks("nobody", TaskQuery(), 5) == []
        assert orchestrator.names == []
        for name in ("a", "b"):
            await orchestrator.submit(name, [submission()])
        refusal = await refusal_of(orchestrator.submit("c", [submission()]))
        assert refusal.reason == reasons.NAMESPACES_EXHAUSTED


async def test_namespaces_do_not_see_each_other() -> None:
    async with running() as orchestrator:
        (answer,) = await orchestrator.submit("a", [submission("r1")])
        assert isinstance(answer, TaskSnapshot)
        await orchestrator.submit("b", [submission("r1", type="other")])
        task_id = TaskId(answer.record.task_id)
        assert (await orchestrator.get("a", task_id)).spec.type == "echo"
        assert (await orchestrator.get("b", task_id)).spec.type == "other"
        assert orchestrator.agents("b", 10) == []


async def test_watches_are_bounded() -> None:
    bounds = RuntimeBounds(watches=WatchBounds(watches_max=1))
    async with running(bounds=bounds) as orchestrator:
        watch = await orchestrator.watch_tasks("default", None)
        refusal = await refusal_of(orchestrator.watch_tasks("default", None))
        assert refusal.reason == reasons.STREAMS_EXHAUSTED
        watch.close()
        await orchestrator.watch_tasks("default", None)


async def test_stopping_refuses_work_tells_agents_and_ends_whoever_waits() -> None:
    orchestrators: list[Orchestrator] = []
    async with running() as orchestrator:
        orchestrators.append(orchestrator)
        task_id = await submit(orchestrator, type="nobody-offers-this")
        worker = await Worker(orchestrator).connect()
        waiting = asyncio.create_task(orchestrator.get("default", task_id, 60_000))
        await settle()
        await orchestrator.drain()
        assert (await worker.parcel()).drain == reasons.DRAINING
        refusal = await refusal_of(orchestrator.submit("default", [submission()]))
        assert refusal.reason == reasons.DRAINING
        assert refusal.retry_ms > 0
        assert (await orchestrator.get("default", task_id)).record.state == TaskState.QUEUED
        await orchestrator.stop()
        ended = await worker.ended()
        assert ended is not None
        assert ended.reason == reasons.DRAINING
        assert (await refusal_of(waiting)).reason == reasons.DRAINING


async def test_stopping_does_not_wait_for_a_store_that_never_heals() -> None:
    store = TroubledStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        await submit(orchestrator)
        store.fail(StoreUnavailable("disk full"))
        await refusal_of(orchestrator.submit("default", [submission()]))
    assert store.error is not None
    assert isinstance(store.error, StoreUnavailable)
    assert not isinstance(store.error, StaleEpoch)


async def test_reading_a_namespace_while_it_is_opened_finds_nothing_in_it() -> None:
    async with running() as orchestrator:
        opening = asyncio.create_task(orchestrator.submit("new", [submission()]))
        await asyncio.sleep(0)
        assert (await refusal_of(orchestrator.get("new", TaskId(5)))).reason == reasons.TASK_NOT_FOUND
        await opening


async def test_a_drained_agent_that_resumes_is_told_again() -> None:
    async with running() as orchestrator:
        worker = await Worker(orchestrator).connect()
        await orchestrator.drain_agent("default", "worker")
        assert (await worker.parcel()).drain == "AGENT_DRAINED"
        worker.session.leave()
        again = await Worker(orchestrator).connect(session_id=worker.session.session_id)
        assert again.welcome is not None
        assert again.welcome.resumed
        assert again.drain == "AGENT_DRAINED"


async def test_a_submitter_that_does_not_read_is_given_up() -> None:
    bounds = RuntimeBounds(streams=StreamBounds(window=10))
    async with running(bounds=bounds) as orchestrator:
        stream = await orchestrator.open_submission_stream("default")
        for number in range(1_200):
            await stream.submit([submission(f"r{number}")], 10, None)
        ended = await stream.closed
        assert ended is not None
        assert ended.reason == reasons.SLOW_READER
        orchestrator.close_submission_stream(stream)
        assert orchestrator.open_streams["submissions"] == 0


async def test_a_defect_of_the_store_is_an_unknown_outcome() -> None:
    store = TroubledStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        task_id = await submit(orchestrator)
        store.defect = ValueError("a planted defect")
        refusal = await refusal_of(orchestrator.submit("default", [submission()]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE
        await until(lambda: orchestrator.names)
        assert (await orchestrator.get("default", task_id)).record.state == TaskState.QUEUED
        await submit(orchestrator)


async def test_a_defect_of_a_turn_does_not_end_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as orchestrator:
        task_id = await submit(orchestrator)

        def broken(_record: Any) -> bytes:
            monkeypatch.undo()
            raise AssertionError("a planted defect")

        monkeypatch.setattr(codec, "encode_record", broken)
        refusal = await refusal_of(orchestrator.submit("default", [submission()]))
        assert refusal.reason == reasons.STORE_UNAVAILABLE
        await until(lambda: orchestrator.names)
        assert (await orchestrator.get("default", task_id)).record.state == TaskState.QUEUED
        await submit(orchestrator)


async def test_a_lost_commit_of_one_namespace_leaves_the_others_answered() -> None:
    store = TroubledStore()
    async with running(store, bounds=FAST_RETRY) as orchestrator:
        for name in ("a", "b"):
            await orchestrator.submit(name, [submission()])
        store.hold()
        first = asyncio.create_task(orchestrator.submit("a", [submission()]))
        await store.tried.wait()
        # Both wait for the same turn: one has rows to commit, the other has none.
        second = asyncio.create_task(orchestrator.submit("a", [submission()]))
        missing = asyncio.create_task(orchestrator.cancel("b", TaskId(1)))
        await settle()
        store.release(once=True)
        await first
        store.defect = ValueError("a planted defect")
        store.release()
        assert (await refusal_of(second)).reason == reasons.STORE_UNAVAILABLE
        assert (await refusal_of(missing)).reason == reasons.TASK_NOT_FOUND


async def test_stopping_what_never_started_closes_the_store() -> None:
    store = TroubledStore()
    orchestrator = Orchestrator(store, HandClock())
    await orchestrator.stop()
    await orchestrator.stop()
    assert store.closed == 2
