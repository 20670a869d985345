"""The calling side of the benchmarks: StreamTasks at full speed, unary calls at a fixed rate."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import grpc.aio

from tests.bench.echo_agents import CHANNEL_OPTIONS
from upbeat.v1 import task_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BATCH_TASKS = 64


@dataclass
class Run:
    """What one run came to."""

    finished: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)


class TaskStream:
    """One StreamTasks call: submits in frames, counts what finishes."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(
            "/upbeat.v1.TaskService/StreamTasks"
        )
        self._stream = start()
        self._number = 0
        self._sent_at: dict[str, float] = {}

    async def close(self) -> None:
        """End the call."""
        self._stream.cancel()
        await self._channel.close()

    async def submit(self, count: int, payload: bytes, prefix: str) -> None:
        """Send one frame of ``count`` submissions."""
        frame = wire.StreamTasksRequest()
        now = time.perf_counter()
        for _ in range(count):
            self._number += 1
            request_id = f"{prefix}-{self._number}"
            request = frame.requests.add(request_id=request_id)
            request.spec.type = "echo"
            request.spec.input.data = payload
            self._sent_at[request_id] = now
        await self._stream.write(frame.SerializeToString())

    async def finished(self, latencies_s: list[float]) -> int:
        """Read one frame; acknowledges and answers how many tasks it finished."""
        data = await self._stream.read()
        if data is grpc.aio.EOF:
            message = f"the stream ended: {await self._stream.code()} {await self._stream.details()}"
            raise RuntimeError(message)
        frame = wire.StreamTasksResponse.FromString(cast("bytes", data))
        if frame.refused:
            raise RuntimeError(str(frame.refused[0]))
        if not frame.finished:
            return 0
        now = time.perf_counter()
        acks = wire.StreamTasksRequest()
        for finished in frame.finished:
            acks.finished_acks.append(finished.request_id)
            latencies_s.append(now - self._sent_at.pop(finished.request_id))
        await self._stream.write(acks.SerializeToString())
        return len(frame.finished)


async def closed_loop(address: str, tasks: int, window: int, payload: bytes, prefix: str) -> Run:
    """Keep ``window`` tasks outstanding until ``tasks`` have finished."""
    stream = TaskStream(address)
    run = Run()
    batch = min(BATCH_TASKS, window)
    started, started_cpu = time.perf_counter(), time.process_time()
    submitted = 0
    try:
        while run.finished < tasks:
            while submitted < tasks and submitted - run.finished <= window - batch:
                count = min(batch, tasks - submitted)
                submitted += count
                await stream.submit(count, payload, prefix)
            run.finished += await stream.finished(run.latencies_s)
    finally:
        await stream.close()
    run.seconds = time.perf_counter() - started
    run.cpu_seconds = time.process_time() - started_cpu
    return run


async def open_loop(
    call: Callable[[int], Awaitable[object]], per_second: float, seconds: float
) -> list[float]:
    """Make calls at a fixed rate whatever they take; latency counts from when each was due."""
    started = time.perf_counter()
    samples: list[float] = []

    async def one(number: int, due: float) -> None:
        await call(number)
        samples.append(time.perf_counter() - due)

    calls = []
    for number in range(int(per_second * seconds)):
        due = started + number / per_second
        delay = due - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        calls.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*calls)
    return samples
