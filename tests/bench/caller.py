"""A caller in a process of its own: StreamTasks with a window kept full, or at a fixed rate.

Run as ``python -m tests.bench.caller ADDRESS LOAD``. It prints ``steady`` once it is warm and a line of JSON
with what came back after that. The wire is spoken directly, so that what is measured is the server and not
an SDK.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

import grpc.aio

from tests.bench.echo_agents import CHANNEL_OPTIONS
from tests.bench.figures import percentile
from tests.bench.loop import run
from tests.bench.steady import Steady
from tests.bench.work import PAYLOAD_BYTES, WORKS, echo_spec, same, stamped
from upbeat.v1 import task_pb2
from upbeat.v1 import task_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat.v1 import task_spec_pb2

BATCH_TASKS = 64
WINDOW_PARTS = 16
"""A frame is sent once this part of the window is free, or a batch."""
FRAME_TASKS_MAX = 1_000
TICK_S = 0.005
"""Between two frames of a caller that keeps a rate."""


@dataclass(frozen=True)
class Load:
    """What a caller does."""

    work: str = "plain"
    window: int = 1  # Tasks that are submitted and not yet finished.
    warm_up_s: float = 1.0
    seconds: float = 3.0
    per_second: float = 0.0  # 0: as many as the window allows.

    def as_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


PREFIX = "run-"


def number_of(request_id: str) -> int:
    """Which task of its stream it was, from 0."""
    return int(request_id.removeprefix(PREFIX))


class TaskStream:
    """One StreamTasks call: submits in frames, acknowledges what finishes with the next one."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(
            "/upbeat.v1.TaskService/StreamTasks"
        )
        self._stream = start()
        self._number = 0
        self._acks: list[str] = []
        self.outstanding = 0

    async def close(self) -> None:
        """End the call."""
        self._stream.cancel()
        await self._channel.close()

    async def submit(self, count: int, spec: Callable[[int], task_spec_pb2.TaskSpec]) -> None:
        """Send one frame of ``count`` submissions, and what there is to acknowledge."""
        frame = wire.StreamTasksRequest(finished_acks=self._acks)
        self._acks = []
        for number in range(self._number, self._number + count):
            frame.requests.add(request_id=f"{PREFIX}{number}", spec=spec(number))
        self._number += count
        self.outstanding += count
        await self._stream.write(frame.SerializeToString())

    async def finished(self) -> list[str]:
        """Read one frame; answers the request ids that it finished. Raises RuntimeError for a failure."""
        data = await self._stream.read()
        if data is grpc.aio.EOF:
            code, details = await self._stream.code(), await self._stream.details()
            raise RuntimeError(f"the stream ended: {code} {details}")
        frame = wire.StreamTasksResponse.FromString(cast("bytes", data))
        if frame.refused:
            raise RuntimeError(f"a task was refused: {frame.refused[0].error}")
        request_ids = []
        for finished in frame.finished:
            if finished.state != task_pb2.Task.STATE_COMPLETED:
                raise RuntimeError(f"a task did not complete: {finished.error}")
            request_ids.append(finished.request_id)
        if request_ids and len(frame.finished[0].output.data) < PAYLOAD_BYTES:
            raise RuntimeError("an output is not what its input was")
        self.outstanding -= len(request_ids)
        self._acks += request_ids
        return request_ids


async def keep_full(stream: TaskStream, load: Load, steady: Steady) -> None:
    """Keep the window full until the time is over."""
    work = WORKS[load.work]
    batch = min(BATCH_TASKS, -(-load.window // WINDOW_PARTS))
    is_over = False
    while not is_over:
        while (room := load.window - stream.outstanding) >= batch:
            await stream.submit(min(room, FRAME_TASKS_MAX), work.spec)
        request_ids = await stream.finished()
        if request_ids and work.counts is not None:
            is_over = steady.add(sum(work.counts(number_of(request_id)) for request_id in request_ids))
        elif request_ids:
            is_over = steady.add(len(request_ids))


async def one_by_one(stream: TaskStream, load: Load, steady: Steady) -> list[float]:
    """One task at a time; answers how long each took from its submission, in seconds."""
    work = WORKS[load.work]
    samples: list[float] = []
    is_over = False
    while not is_over:
        submitted_at = time.perf_counter()
        await stream.submit(1, work.spec)
        while not await stream.finished():
            pass
        if steady.has_begun:
            samples.append(time.perf_counter() - submitted_at)
        is_over = steady.add(1)
    return samples


async def keep_rate(stream: TaskStream, load: Load, steady: Steady) -> None:
    """Submit at a fixed rate whatever becomes of it; every input holds when it was due."""

    async def submit() -> None:
        began = time.monotonic()
        submitted = 0
        due = began
        while True:
            due += TICK_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            count = int((due - began) * load.per_second) - submitted
            if count:
                await stream.submit(count, same(stamped(echo_spec(), int(due * 1e9))))
                submitted += count

    submitting = asyncio.create_task(submit())
    try:
        while not steady.add(len(await stream.finished())):
            if submitting.done():
                submitting.result()
    finally:
        submitting.cancel()


async def main(address: str, load: Load) -> None:
    """Carry out a load and print what it came to."""
    stream = TaskStream(address)
    steady = Steady(load.warm_up_s, load.seconds, load.window)
    samples: list[float] = []
    try:
        if load.per_second:
            await keep_rate(stream, load, steady)
        elif load.window == 1:
            samples = await one_by_one(stream, load, steady)
        else:
            await keep_full(stream, load, steady)
    finally:
        await stream.close()
    latencies = {
        name: percentile(samples, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
    print(json.dumps({**steady.result(), **latencies}), flush=True)


if __name__ == "__main__":
    run(main(sys.argv[1], Load(**json.loads(sys.argv[2]))))
