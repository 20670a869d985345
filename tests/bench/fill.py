"""Filling a server with tasks in large batches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

import grpc.aio

from tests.bench.echo_agents import CHANNEL_OPTIONS
from tests.bench.work import echo_spec
from upbeat.v1 import stats_pb2, stats_service_pb2
from upbeat.v1 import task_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable

Unary: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
BATCH_TASKS = 1_000
CALLS_AT_ONCE = 4
POLL_S = 0.02


async def fill(address: str, kind: str, count: int) -> list[str]:
    """Submit ``count`` tasks of a type, rounded up to whole batches; answers their ids."""
    batch = wire.BatchSubmitTasksRequest()
    for _ in range(BATCH_TASKS):
        batch.requests.add(spec=echo_spec(kind))
    data = batch.SerializeToString()
    left = iter(range(-(-count // BATCH_TASKS)))
    task_ids: list[str] = []
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        submit: Unary = channel.unary_unary("/upbeat.v1.TaskService/BatchSubmitTasks")

        async def lane() -> None:
            for _ in left:
                answer = wire.BatchSubmitTasksResponse.FromString(await submit(data))
                for result in answer.results:
                    if not result.HasField("task"):
                        raise RuntimeError(f"a task was refused: {result.error}")
                    task_ids.append(result.task.task_id)

        await asyncio.gather(*(lane() for _ in range(CALLS_AT_ONCE)))
    return task_ids


async def stats(address: str) -> stats_pb2.Stats:
    """The figures of the server."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        call: Unary = channel.unary_unary("/upbeat.v1.StatsService/GetStats")
        return stats_service_pb2.GetStatsResponse.FromString(await call(b"")).stats


async def stats_when(
    address: str, is_so: Callable[[stats_pb2.Stats], bool], patience_s: float = 30.0
) -> stats_pb2.Stats:
    """The figures once something is so. Raises TimeoutError."""
    async with asyncio.timeout(patience_s):
        while not is_so(told := await stats(address)):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(POLL_S)
    return told
