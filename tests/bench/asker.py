"""Unary calls at a fixed rate, in a process of their own, beside whatever else the server has to do.

Run as ``python -m tests.bench.asker ADDRESS PLAN``. It fills the server first and prints what that took as
JSON; told to ``go`` it calls SubmitTask and GetTask, prints ``steady`` once it is warm, and at the end a line
of JSON. Latencies count from when a call was due: a stall is not hidden by calls that were never made.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc.aio

from tests.bench.echo_agents import CHANNEL_OPTIONS
from tests.bench.figures import percentile
from tests.bench.fill import Unary, fill, stats_when
from tests.bench.loop import run
from tests.bench.work import echo_spec, stamped
from upbeat.v1 import task_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HELD, SHELVED = "hold", "shelf"
"""Types of the tasks that an agent takes and never ends, and of those that nobody takes."""
STEP = 7_919
"""A prime: tasks that are asked for follow each other nowhere."""


@dataclass(frozen=True)
class Plan:
    """What an asker does."""

    held: int
    shelved: int
    per_second: float
    warm_up_s: float
    seconds: float

    def as_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


async def open_loop(
    call: Callable[[float], Awaitable[object]], per_second: float, seconds: float
) -> list[float]:
    """Make calls at a fixed rate whatever they take, each told when it was due; latencies from then, in s."""
    started = time.monotonic()
    samples: list[float] = []

    async def one(due: float) -> None:
        await call(due)
        samples.append(time.monotonic() - due)

    async with asyncio.TaskGroup() as calls:
        for number in range(int(per_second * seconds)):
            due = started + number / per_second
            delay = due - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            calls.create_task(one(due))
    return samples


def percentiles(samples_s: list[float]) -> dict[str, float]:
    """Of latencies, in s."""
    shares = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return {"count": float(len(samples_s)), **{name: percentile(samples_s, share) for name, share in shares}}


class Asker:
    """The two calls."""

    def __init__(self, channel: grpc.aio.Channel, task_ids: list[str]) -> None:
        self._submit: Unary = channel.unary_unary("/upbeat.v1.TaskService/SubmitTask")
        self._get: Unary = channel.unary_unary("/upbeat.v1.TaskService/GetTask")
        self._task_ids = task_ids
        self._numbers = count()

    async def submit(self, due: float) -> None:
        """Submit a task that holds when it was due."""
        spec = stamped(echo_spec(), int(due * 1e9))
        request = wire.SubmitTaskRequest(request_id=f"open-{next(self._numbers)}", spec=spec)
        await self._submit(request.SerializeToString())

    async def get(self, due: float) -> None:
        """Ask for one of the tasks the server was filled with."""
        task_id = self._task_ids[next(self._numbers) * STEP % len(self._task_ids)]
        data = await self._get(wire.GetTaskRequest(task_id=task_id).SerializeToString())
        if wire.GetTaskResponse.FromString(data).task.task_id != task_id:
            raise RuntimeError("another task was answered than was asked for")

    async def both(self, per_second: float, seconds: float) -> tuple[list[float], list[float]]:
        """Make both calls, each at the rate."""
        submits, gets = await asyncio.gather(
            open_loop(self.submit, per_second, seconds), open_loop(self.get, per_second, seconds)
        )
        return submits, gets


async def filled(address: str, plan: Plan) -> tuple[list[str], dict[str, Any]]:
    """Fill the server and wait until the held tasks run; ids, and what that took."""
    began = time.monotonic()
    task_ids = await fill(address, HELD, plan.held) + await fill(address, SHELVED, plan.shelved)
    took_s = time.monotonic() - began
    told = await stats_when(address, lambda stats: stats.tasks_by_state["RUNNING"] >= plan.held)
    counts = told.tasks_by_state
    return task_ids, {
        "rate": len(task_ids) / took_s,
        "running": counts["RUNNING"],
        "queued": counts["QUEUED"],
    }


async def main(address: str, plan: Plan) -> None:
    """Carry out a plan."""
    task_ids, told = await filled(address, plan)
    print(json.dumps(told), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        asker = Asker(channel, task_ids)
        await asker.both(plan.per_second, plan.warm_up_s)
        print("steady", flush=True)
        submits, gets = await asker.both(plan.per_second, plan.seconds)
    print(json.dumps({"submit": percentiles(submits), "get": percentiles(gets)}), flush=True)


if __name__ == "__main__":
    run(main(sys.argv[1], Plan(**json.loads(sys.argv[2]))))
