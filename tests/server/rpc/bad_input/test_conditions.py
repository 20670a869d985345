"""What is refused for the state the server is in: bounds, an end, a store that is away, a caller that leaves.

Each refusal is definite (nothing of what was asked for happened) or says that it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import pytest

from tests.server.rpc.bad_input.case import Code, agents_pb, hello, tasks_pb
from tests.support.runtime import PATIENCE_S, until
from tests.support.served import Served, Told, WireAgent, end_of, served, told_by
from tests.support.troubled_store import TroubledStore
from upbeat_server.engine.limits import Bounds, Limits
from upbeat_server.runtime.bounds import LoopBounds, RuntimeBounds, StreamBounds, WatchBounds
from upbeat_server.store.store import StoreUnavailable


def submit(server: Served, **fields: Any) -> Any:
    """One submission."""
    fields.setdefault("spec", {"type": "echo"})
    return server.tasks.SubmitTask(tasks_pb.SubmitTaskRequest(**fields), timeout=PATIENCE_S)


def watch(server: Served, **fields: Any) -> Any:
    """A watch of tasks."""
    return server.tasks.WatchTasks(tasks_pb.WatchTasksRequest(**fields), timeout=PATIENCE_S)


async def count(server: Served) -> int:
    """How many tasks there are."""
    return len((await server.tasks.ListTasks(tasks_pb.ListTasksRequest(), timeout=PATIENCE_S)).tasks)


def connect(server: Served, **fields: Any) -> Any:
    """A stream of an agent that said hello."""
    return server.agents.Connect(iter([hello(**fields)]), timeout=PATIENCE_S)


class Full(NamedTuple):
    """A bound, what fills it up, and who finds it full."""

    name: str
    bounds: Any
    fill: Callable[[Served], Awaitable[object]]
    beyond: Callable[[Served], Awaitable[Told]]
    reason: str


async def fill_with_tasks(server: Served) -> None:
    for number in range(2):
        spec = {"type": f"echo{number}", "fairness_key": f"k{number}", "input": {"data": bytes(400)}}
        await submit(server, spec=spec)


def one_more_task(server: Served) -> Awaitable[Told]:
    spec = {"type": "echo9", "fairness_key": "k9", "input": {"data": bytes(400)}}
    return told_by(submit(server, spec=spec))


async def fill_with_streams(server: Served) -> Any:
    stream = server.tasks.StreamTasks()
    await stream.write(tasks_pb.StreamTasksRequest())
    await stream.read()
    return stream


async def fill_with_watches(server: Served) -> Any:
    stream = server.tasks.WatchTasks(tasks_pb.WatchTasksRequest())
    await stream.read()
    return stream


async def one_more_stream(server: Served) -> Told:
    stream = server.tasks.StreamTasks(timeout=PATIENCE_S)
    await stream.write(tasks_pb.StreamTasksRequest())
    return await end_of(stream)


FULL = [
    Full("queue", Bounds(queue_tasks_max=2), fill_with_tasks, one_more_task, "QUEUE_FULL"),
    Full(
        "bytes of the queue",
        Bounds(queue_bytes_max=1_200),
        fill_with_tasks,
        one_more_task,
        "QUEUE_BYTES_FULL",
    ),
    Full("kinds of work", Bounds(signatures_max=2), fill_with_tasks, one_more_task, "SIGNATURES_EXHAUSTED"),
    Full(
        "fairness keys",
        Bounds(fairness_keys_max=2),
        fill_with_tasks,
        one_more_task,
        "FAIRNESS_KEYS_EXHAUSTED",
    ),
    Full(
        "agents",
        Bounds(agents_max=1),
        lambda server: WireAgent(server).connect(),
        lambda server: end_of(connect(server)),
        "AGENTS_EXHAUSTED",
    ),
    Full(
        "namespaces",
        LoopBounds(namespaces_max=1),
        fill_with_tasks,
        lambda server: told_by(submit(server, namespace="other")),
        "NAMESPACES_EXHAUSTED",
    ),
    Full(
        "streams of submissions",
        StreamBounds(submission_streams_max=1),
        fill_with_streams,
        one_more_stream,
        "STREAMS_EXHAUSTED",
    ),
    Full(
        "watches of tasks",
        WatchBounds(watches_max=1),
        fill_with_watches,
        lambda server: end_of(watch(server)),
        "STREAMS_EXHAUSTED",
    ),
    Full(
        "watches of agents",
        WatchBounds(watches_max=1),
        fill_with_watches,
        lambda server: end_of(server.agents.WatchAgents(agents_pb.WatchAgentsRequest(), timeout=PATIENCE_S)),
        "STREAMS_EXHAUSTED",
    ),
]
PLACES: dict[Any, str] = {LoopBounds: "loop", StreamBounds: "streams", WatchBounds: "watches"}


@pytest.mark.parametrize("full", FULL, ids=[full.name for full in FULL])
async def test_a_bound_that_is_reached_says_which_and_takes_nothing(full: Full) -> None:
    limits = Limits(bounds=full.bounds) if isinstance(full.bounds, Bounds) else None
    bounds = None if limits else RuntimeBounds(**{PLACES[type(full.bounds)]: full.bounds})
    async with served(limits=limits, bounds=bounds) as server:
        held = await full.fill(server)  # A stream or an agent that has to stay.
        before = await count(server)
        told = await full.beyond(server)
        assert (told.code, told.reason) == (Code.RESOURCE_EXHAUSTED, full.reason), told.message
        assert told.message.isprintable()
        assert await count(server) == before
        del held


async def test_a_batch_beyond_the_queue_is_taken_as_far_as_there_is_room() -> None:
    async with served(limits=Limits(bounds=Bounds(queue_tasks_max=3))) as server:
        batch = tasks_pb.BatchSubmitTasksRequest(requests=[{"spec": {"type": "echo"}}] * 5)
        results = (await server.tasks.BatchSubmitTasks(batch, timeout=PATIENCE_S)).results
        assert [result.WhichOneof("result") for result in results] == ["task"] * 3 + ["error"] * 2
        assert {result.error.reason for result in results[3:]} == {"QUEUE_FULL"}
        assert all(result.error.HasField("retry_delay") for result in results[3:])
        assert await count(server) == 3


async def test_a_window_that_is_full_refuses_what_is_beyond_it() -> None:
    async with served(bounds=RuntimeBounds(streams=StreamBounds(window=2))) as server:
        stream = server.tasks.StreamTasks(timeout=PATIENCE_S)
        requests: Any = [{"request_id": f"r{n}", "spec": {"type": "echo"}} for n in range(4)]
        await stream.write(tasks_pb.StreamTasksRequest(requests=requests))
        refused: list[Any] = []
        while len(refused) < 2:
            refused += (await stream.read()).refused
        assert {item.request_id: item.error.reason for item in refused} == {
            "r2": "WINDOW_EXCEEDED",
            "r3": "WINDOW_EXCEEDED",
        }
        await until(lambda: server.orchestrator.inbox_items == 0)
        assert await count(server) == 2


async def test_a_request_id_belongs_to_one_body_and_a_dedup_key_to_one_task() -> None:
    async with served() as server:
        first = await submit(server, spec={"type": "echo", "dedup_key": "once"}, request_id="r1")
        again = await submit(server, spec={"type": "echo", "dedup_key": "once"}, request_id="r1")
        assert first.task.task_id == again.task.task_id
        other = await told_by(submit(server, spec={"type": "echo", "size_hint": 2}, request_id="r1"))
        assert (other.code, other.reason) == (Code.ALREADY_EXISTS, "REQUEST_ID_REUSED")
        twin = await told_by(submit(server, spec={"type": "echo", "dedup_key": "once"}, request_id="r2"))
        assert (twin.code, twin.reason) == (Code.ALREADY_EXISTS, "DUPLICATE_TASK")
        assert await count(server) == 1


@pytest.mark.parametrize("ending", ["COMPLETED", "FAILED", "CANCELLED"])
async def test_cancelling_what_has_ended_changes_nothing(ending: str) -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        task_id = (await server.submit(retry={"max_attempts": 1})).task.task_id
        lease_id = (await agent.assignment()).lease_id
        cancel = tasks_pb.CancelTaskRequest(task_id=task_id)
        if ending == "COMPLETED":
            await agent.finish(lease_id)
        elif ending == "FAILED":
            await agent.say(results=[{"lease_id": lease_id, "error": {"reason": "BROKEN"}}])
            await server.get(task_id, wait_s=20)
        else:
            await server.tasks.CancelTask(cancel, timeout=PATIENCE_S)
        before = await server.get(task_id)
        if ending == "CANCELLED":
            assert (await server.tasks.CancelTask(cancel, timeout=PATIENCE_S)).task.state == before.state
        else:
            told = await told_by(server.tasks.CancelTask(cancel, timeout=PATIENCE_S))
            assert (told.code, told.reason) == (Code.FAILED_PRECONDITION, "TASK_FINISHED")
            assert ending in (told.message, *told.metadata.values())
        assert await server.get(task_id) == before


async def test_a_page_token_is_good_for_its_own_listing_only() -> None:
    async with served() as server:
        for _ in range(3):
            await submit(server)

        async def page(**fields: Any) -> Any:
            return await server.tasks.ListTasks(
                tasks_pb.ListTasksRequest(page_size=1, **fields), timeout=PATIENCE_S
            )

        token = (await page()).next_page_token
        assert (await page(page_token=token)).next_page_token not in ("", token)
        agents = agents_pb.ListAgentsRequest(page_token=token)
        flipped = ("B" if token[0] == "A" else "A") + token[1:]
        for call in (
            page(page_token=token, filter="type = echo"),
            page(page_token=token, order_by="create_time desc"),
            page(page_token=token, namespace="other"),
            page(page_token=flipped),
            page(page_token=token[:-4]),
            page(page_token=token * 2),
            page(page_token=f" {token}"),
            server.agents.ListAgents(agents, timeout=PATIENCE_S),
        ):
            told = await told_by(call)
            assert (told.code, told.reason) == (Code.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")
            assert told.fields == ["page_token"]


async def test_a_revision_that_is_gone_cannot_be_resumed_from() -> None:
    bounds = RuntimeBounds(watches=WatchBounds(ring_events_max=2))
    async with served(bounds=bounds) as server:
        for _ in range(6):
            await submit(server)
        now = (await watch(server).read()).revision or 6
        for revision in (1, now + 1_000):
            told = await end_of(watch(server, revision=revision))
            assert (told.code, told.reason) == (Code.OUT_OF_RANGE, "REVISION_OUT_OF_RANGE")


async def test_a_server_that_drains_refuses_work_and_answers_looks() -> None:
    async with served() as server:
        task_id = (await submit(server)).task.task_id
        await server.orchestrator.drain()
        stream = server.tasks.StreamTasks(iter([tasks_pb.StreamTasksRequest()]), timeout=PATIENCE_S)
        for told in (
            await told_by(submit(server)),
            await told_by(server.tasks.CancelTask(tasks_pb.CancelTaskRequest(task_id=task_id))),
            await end_of(stream),
            await end_of(connect(server)),
        ):
            assert (told.code, told.reason, told.has_retry) == (Code.UNAVAILABLE, "DRAINING", True)
        assert (await server.get(task_id)).task_id == task_id
        assert await count(server) == 1


async def test_while_the_store_is_away_work_is_refused_looks_are_answered_and_all_heals() -> None:
    store = TroubledStore()
    async with served(store=store) as server:
        task_id = (await submit(server)).task.task_id
        store.fail(StoreUnavailable("the disk is full"))
        waiting = asyncio.create_task(told_by(submit(server, request_id="r1")))
        await store.tried.wait()
        await until(lambda: not server.orchestrator.store_is_healthy)
        for told in (await waiting, await told_by(submit(server, request_id="r2"))):
            assert (told.code, told.reason, told.has_retry) == (Code.UNAVAILABLE, "STORE_UNAVAILABLE", True)
            assert "the disk is full" not in told.message
        assert (await server.get(task_id)).task_id == task_id
        store.heal()
        server.orchestrator.wake()
        await until(lambda: server.orchestrator.store_is_healthy)
        # UNAVAILABLE is an indefinite answer: repeated with its request_id, it is one task at most.
        first, again = await submit(server, request_id="r1"), await submit(server, request_id="r1")
        assert first.task.task_id == again.task.task_id


async def test_a_call_that_its_caller_gives_up_is_applied_wholly_or_not_at_all() -> None:
    store = TroubledStore()
    async with served(store=store) as server:
        await submit(server)
        store.hold()
        requests: Any = [{"request_id": f"r{n}", "spec": {"type": "echo"}} for n in range(10)]
        batch = tasks_pb.BatchSubmitTasksRequest(requests=requests)
        call = server.tasks.BatchSubmitTasks(batch)
        asked = asyncio.ensure_future(call)
        await store.tried.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        store.release()
        results = (await server.tasks.BatchSubmitTasks(batch, timeout=PATIENCE_S)).results
        assert len({result.task.task_id for result in results}) == 10
        assert await count(server) == 11


async def test_whoever_gives_up_waiting_leaves_nothing_behind() -> None:
    async with served() as server:
        task_id = (await submit(server)).task.task_id
        namespace = server.orchestrator._catalog.known("default")
        assert namespace is not None
        request = tasks_pb.GetTaskRequest(task_id=task_id, wait={"seconds": 500})
        calls = [server.tasks.GetTask(request) for _ in range(20)]
        asked = [asyncio.ensure_future(call) for call in calls]
        await until(lambda: len(namespace.waiters.get(task_id_of(task_id), ())) == 20)
        for call in calls[:10]:
            call.cancel()
        await until(lambda: len(namespace.waiters.get(task_id_of(task_id), ())) == 10)
        await server.tasks.CancelTask(tasks_pb.CancelTaskRequest(task_id=task_id), timeout=PATIENCE_S)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 10
        assert namespace.waiters == {}


def task_id_of(text: str) -> Any:
    return int(text, 16)


async def test_half_a_deadline_is_no_defect() -> None:
    async with served() as server:
        task_id = (await submit(server)).task.task_id
        request = tasks_pb.GetTaskRequest(task_id=task_id, wait={"seconds": 500})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.tasks.GetTask(request, timeout=0.05)
        assert caught.value.code() is Code.DEADLINE_EXCEEDED
        namespace = server.orchestrator._catalog.known("default")
        assert namespace is not None
        await until(lambda: namespace.waiters == {})
