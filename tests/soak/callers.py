"""Callers of every kind that come and go, each with a channel of its own and its own luck.

Together they submit at a rate that the agents can follow, so that what is measured is
whether a busy server levels off, not how it sheds load.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from tests.soak.agents import REGIONS, TYPES
from upbeat.v1 import stats_service_pb2, stats_service_pb2_grpc, task_service_pb2_grpc
from upbeat.v1 import task_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from tests.soak.tally import Tally

CALL_S = 30.0
VISITS = (3, 15)
"""Rounds that a caller stays."""
KEPT_IDS = 400
SHORT_S = 0.4


class Crowd:
    """What all callers share: where, luck, what they know of each other's tasks."""

    def __init__(self, address: str, rng: Random, tally: Tally, tasks_per_s: float) -> None:
        self.address = address
        self.rng = rng
        self.tally = tally
        self.tasks_per_s = tasks_per_s
        self.task_ids: list[str] = []
        self._number = 0
        self._bucket = 0.0
        self._refilled = asyncio.Event()
        self._turn = asyncio.Lock()

    async def refill(self) -> None:
        """Let submissions in at the rate, for ever."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0.05)
            now = loop.time()
            # What was not used in the last second is forgotten: a stall is not made good by a flood.
            self._bucket = min(self._bucket + (now - last) * self.tasks_per_s, self.tasks_per_s)
            last = now
            self._refilled.set()

    async def may_submit(self, count: int) -> None:
        """Wait until so many submissions are due."""
        async with self._turn:  # One after the other, or large batches would never have their turn.
            while self._bucket < count:
                self._refilled.clear()
                await self._refilled.wait()
            self._bucket -= count

    def request(self) -> wire.SubmitTaskRequest:
        """A submission of any kind."""
        rng = self.rng
        self._number += 1
        request = wire.SubmitTaskRequest(request_id=f"soak-{self._number}")
        spec = request.spec
        spec.type = rng.choice(TYPES)
        spec.input.data = rng.randbytes(rng.choice((20, 200, 200, 2_000)))
        spec.priority = rng.choice((0, 1, 2, 2, 3, 4))  # type: ignore[assignment]
        # Tenants come and go: their keys must not stay.
        spec.fairness_key = f"tenant-{self._number // 500}-{rng.randrange(10)}"
        if rng.random() < 0.3:
            spec.labels.update({"team": rng.choice("abc"), "batch": str(self._number // 1_000)})
        if rng.random() < 0.15:
            spec.selector = f'labels.region == "{rng.choice(REGIONS)}"'
        if rng.random() < 0.1:
            spec.required_capabilities.append("gpu")
        if rng.random() < 0.1:
            spec.retry.max_attempts = rng.randint(1, 4)
            spec.retry.initial_backoff.FromMilliseconds(200)
        if rng.random() < 0.05:
            spec.side_effects = 3  # type: ignore[assignment]
        if rng.random() < 0.05:
            spec.dedup_key = f"key-{rng.randrange(50)}"
        if rng.random() < 0.05:
            spec.total_timeout.FromMilliseconds(rng.randint(200, 5_000))
        if rng.random() < 0.05:
            spec.not_before_time.GetCurrentTime()
            spec.not_before_time.seconds += rng.randint(1, 3)
        spec.attempt_timeout.FromMilliseconds(3_000)
        spec.queue_timeout.FromMilliseconds(15_000)
        return request

    def remember(self, task_id: str) -> None:
        """Others may ask for it."""
        self.task_ids.append(task_id)
        if len(self.task_ids) > 2 * KEPT_IDS:
            del self.task_ids[:KEPT_IDS]

    def some_task(self) -> str:
        """A task of some time ago."""
        return self.rng.choice(self.task_ids) if self.task_ids else "0000010000000001"


async def single(crowd: Crowd, stub: Any) -> None:
    """SubmitTask, and mostly wait for the result."""
    await crowd.may_submit(1)
    try:
        answer = await stub.SubmitTask(crowd.request(), timeout=CALL_S)
    except grpc.aio.AioRpcError as error:
        if error.code() == grpc.StatusCode.ALREADY_EXISTS:  # Its dedup_key is taken.
            crowd.tally.count("submissions that were duplicates")
            return
        raise
    crowd.tally.count("submitted alone")
    crowd.remember(answer.task.task_id)
    if crowd.rng.random() < 0.7:
        request = wire.GetTaskRequest(task_id=answer.task.task_id)
        request.wait.FromMilliseconds(crowd.rng.choice((100, 1_000, 5_000)))
        await stub.GetTask(request, timeout=CALL_S)
        crowd.tally.count("waited for")


async def batch(crowd: Crowd, stub: Any) -> None:
    """BatchSubmitTasks; some are sent again."""
    count = crowd.rng.choice((5, 20, 50))
    await crowd.may_submit(count)
    request = wire.BatchSubmitTasksRequest(requests=[crowd.request() for _ in range(count)])
    answer = await stub.BatchSubmitTasks(request, timeout=CALL_S)
    if crowd.rng.random() < 0.25:
        answer = await stub.BatchSubmitTasks(request, timeout=CALL_S)
    for result in answer.results:
        if result.HasField("task"):
            crowd.remember(result.task.task_id)
    crowd.tally.count("submitted in batches", count)


async def streamed(crowd: Crowd, stub: Any) -> None:
    """StreamTasks: a few hundred, acknowledged as they end; some leave in the middle."""
    stream = stub.StreamTasks()
    open_ids: set[str] = set()
    total = crowd.rng.randint(20, 150)
    stays = crowd.rng.random() < 0.7
    submitted = 0
    async with asyncio.timeout(CALL_S):
        while submitted < total or (stays and open_ids):
            if submitted < total:
                await crowd.may_submit(10)
                requests = [crowd.request() for _ in range(10)]
                open_ids.update(request.request_id for request in requests)
                submitted += len(requests)
                await stream.write(wire.StreamTasksRequest(requests=requests))
                crowd.tally.count("submitted by streams", len(requests))
            frame = await stream.read()
            if frame is grpc.aio.EOF:
                return
            ended = [finished.request_id for finished in frame.finished]
            open_ids.difference_update(ended, (refused.request_id for refused in frame.refused))
            if ended:
                await stream.write(wire.StreamTasksRequest(finished_acks=ended))
    stream.cancel()


async def lister(crowd: Crowd, stub: Any) -> None:
    """ListTasks, a few pages, by every kind of filter."""
    text = crowd.rng.choice(
        ("", "state = FAILED", f"type = {TYPES[0]}", "labels.team = a", "priority = HIGH")
    )
    request = wire.ListTasksRequest(filter=text, page_size=crowd.rng.choice((5, 50, 200)))
    for _ in range(3):
        answer = await stub.ListTasks(request, timeout=CALL_S)
        crowd.tally.count("pages listed")
        request.page_token = answer.next_page_token
        if not answer.next_page_token:
            return


async def canceller(crowd: Crowd, stub: Any) -> None:
    """CancelTask, mostly too late."""
    await stub.GetTask(wire.GetTaskRequest(task_id=crowd.some_task()), timeout=CALL_S)
    await crowd.may_submit(1)
    request = crowd.request()
    request.spec.dedup_key = ""
    task_id = (await stub.SubmitTask(request, timeout=CALL_S)).task.task_id
    await stub.CancelTask(wire.CancelTaskRequest(task_id=task_id), timeout=CALL_S)
    crowd.tally.count("cancelled")
    await stub.ExplainTask(wire.ExplainTaskRequest(task_id=crowd.some_task()), timeout=CALL_S)
    crowd.tally.count("explained")
    await stub.CancelTask(wire.CancelTaskRequest(task_id=crowd.some_task()), timeout=CALL_S)


async def watcher(crowd: Crowd, stub: Any) -> None:
    """WatchTasks for a while; some read slowly, some ask for progress, some resume."""
    reads_slowly = crowd.rng.random() < 0.3
    request = wire.WatchTasksRequest(
        filter=crowd.rng.choice(("", f"type = {TYPES[1]}", "labels.team = b")),
        progress=crowd.rng.random() < 0.5,
    )
    for _ in range(2):
        stream = stub.WatchTasks(request)
        try:
            async with asyncio.timeout(crowd.rng.uniform(1, 5)):
                while (frame := await stream.read()) is not grpc.aio.EOF:
                    crowd.tally.count("events watched", len(frame.events))
                    request.revision = frame.revision or request.revision
                    if reads_slowly:
                        await asyncio.sleep(SHORT_S)
        except TimeoutError:
            crowd.tally.count("watches left")
        finally:
            stream.cancel()


async def observer(crowd: Crowd, stub: Any) -> None:
    """GetStats and a short WatchStats."""
    request = stats_service_pb2.WatchStatsRequest()
    request.interval.FromMilliseconds(200)
    stream = stub.WatchStats(request)
    try:
        # Not `async for`: to leave it half way keeps the call and its connection until they are collected.
        while await stream.read() is not grpc.aio.EOF and crowd.rng.random() > 0.2:
            crowd.tally.count("stats seen")
    finally:
        stream.cancel()


KINDS: list[tuple[Callable[[Crowd, Any], Awaitable[None]], Any, int]] = [
    (single, task_service_pb2_grpc.TaskServiceStub, 4),
    (batch, task_service_pb2_grpc.TaskServiceStub, 2),
    (streamed, task_service_pb2_grpc.TaskServiceStub, 3),
    (lister, task_service_pb2_grpc.TaskServiceStub, 1),
    (canceller, task_service_pb2_grpc.TaskServiceStub, 1),
    (watcher, task_service_pb2_grpc.TaskServiceStub, 3),
    (observer, stats_service_pb2_grpc.StatsServiceStub, 1),
]


async def _visit(crowd: Crowd, act: Callable[[Crowd, Any], Awaitable[None]], stub_type: Any) -> None:
    """One caller: comes with a channel of its own, does its thing a few times, leaves."""
    name = getattr(act, "__name__", "caller")
    async with grpc.aio.insecure_channel(
        crowd.address, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        stub = stub_type(channel)
        for _ in range(crowd.rng.randint(*VISITS)):
            try:
                await act(crowd, stub)
            except grpc.aio.AioRpcError as error:
                crowd.tally.failed(name, error)
                await asyncio.sleep(SHORT_S)
            except TimeoutError:
                crowd.tally.count(f"{name} gave up waiting")
            except asyncio.InvalidStateError:
                crowd.tally.count(f"{name}: wrote to a call that had ended")
    crowd.tally.count(f"visits: {name}")


async def callers(crowd: Crowd, many: int) -> None:
    """Keep callers of each kind there, for ever; whoever leaves is replaced."""

    async def place(act: Callable[[Crowd, Any], Awaitable[None]], stub_type: Any) -> None:
        while True:
            await _visit(crowd, act, stub_type)
            await asyncio.sleep(crowd.rng.uniform(0.0, 1.0))

    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.refill())
        for act, stub_type, share in KINDS:
            for _ in range(share * many):
                group.create_task(place(act, stub_type))
