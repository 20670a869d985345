"""``python -m tests.bench``: runs the scenarios, prints the table, writes the JSON file."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import TYPE_CHECKING, TypeAlias

import grpc.aio

from tests.bench.caller import closed_loop, open_loop
from tests.bench.echo_agents import CHANNEL_OPTIONS
from tests.bench.figures import OUT, Figure, latencies, table, write
from tests.bench.processes import agents_process, server
from upbeat.v1 import stats_service_pb2 as stats_wire
from upbeat.v1 import task_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable

ECHO = "tests.bench.echo_agents"
Unary: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]

PAYLOAD = b"x" * 256


def throughput(store: str, agents: int, slots: int, tasks: int) -> list[Figure]:
    """Tasks a second through StreamTasks: submit, assign, result, observed by the caller."""
    with server(store) as process, agents_process(ECHO, process.address, agents, slots):
        window = min(4_096, agents * slots)
        asyncio.run(closed_loop(process.address, tasks // 10, window, PAYLOAD, "warm"))
        run = asyncio.run(closed_loop(process.address, tasks, window, PAYLOAD, "run"))
        name = f"throughput.{store}.{agents}x{slots}"
        facts: dict[str, float | str] = {
            "tasks": float(tasks),
            "window": float(window),
            "caller_cpu_share": round(run.cpu_seconds / run.seconds, 2),
        }
        return [Figure(name, round(run.finished / run.seconds, 1), "tasks/s", facts)]


def one_outstanding(store: str, tasks: int) -> list[Figure]:
    """Submit to result at the caller, one task at a time."""
    with server(store) as process, agents_process(ECHO, process.address, 1, 1):
        asyncio.run(closed_loop(process.address, 100, 1, PAYLOAD, "warm"))
        run = asyncio.run(closed_loop(process.address, tasks, 1, PAYLOAD, "run"))
        return latencies(f"closed_loop.{store}", run.latencies_s, tasks=float(tasks))


async def _fill(address: str, count: int) -> list[str]:
    """Submit many tasks in batches; answers their ids."""
    task_ids: list[str] = []
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        submit: Unary = channel.unary_unary("/upbeat.v1.TaskService/BatchSubmitTasks")
        for _ in range(count // 1_000):
            batch = wire.BatchSubmitTasksRequest()
            for _ in range(1_000):
                batch.requests.add().spec.type = "echo"
            answer = wire.BatchSubmitTasksResponse.FromString(await submit(batch.SerializeToString()))
            task_ids += [result.task.task_id for result in answer.results]
    return task_ids


async def _ask(address: str, task_ids: list[str], per_second: float, seconds: float) -> list[Figure]:
    """Submit and GetTask at fixed rates, at the same time."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        submit_call: Unary = channel.unary_unary("/upbeat.v1.TaskService/SubmitTask")
        get_call: Unary = channel.unary_unary("/upbeat.v1.TaskService/GetTask")

        async def submit(number: int) -> None:
            request = wire.SubmitTaskRequest(request_id=f"open-{number}")
            request.spec.type = "echo"
            request.spec.input.data = PAYLOAD
            await submit_call(request.SerializeToString())

        async def get(number: int) -> None:
            task_id = task_ids[number * 7_919 % len(task_ids)]
            await get_call(wire.GetTaskRequest(task_id=task_id).SerializeToString())

        await open_loop(submit, per_second, 1)
        stats_call: Unary = channel.unary_unary("/upbeat.v1.StatsService/GetStats")
        counted = stats_wire.GetStatsResponse.FromString(await stats_call(b"")).stats.tasks_by_state
        submits, gets = await asyncio.gather(
            open_loop(submit, per_second, seconds), open_loop(get, per_second, seconds)
        )
    facts = {
        "calls_per_second": per_second,
        "running": float(counted["RUNNING"]),
        "queued": float(counted["QUEUED"]),
    }
    return [*latencies("crowded.submit", submits, **facts), *latencies("crowded.get", gets, **facts)]


def crowded(store: str, queued: int, seconds: float) -> list[Figure]:
    """5,000 tasks run on 100 agents and many wait; callers submit and ask meanwhile."""
    with server(store) as process, agents_process(ECHO, process.address, 100, 50, "hold"):
        started = time.perf_counter()
        task_ids = asyncio.run(_fill(process.address, queued + 5_000))
        rate = len(task_ids) / (time.perf_counter() - started)
        figures = asyncio.run(_ask(process.address, task_ids, 100.0, seconds))
        return [Figure("crowded.fill", round(rate, 1), "tasks/s", {"batch": 1_000.0}), *figures]


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: for a first look")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    arguments = parser.parse_args()
    scale = 10 if arguments.quick else 1
    scenarios: dict[str, Callable[[], list[Figure]]] = {
        "throughput.durable": lambda: throughput("durable", 50, 64, 200_000 // scale),
        "throughput.memory": lambda: throughput("memory", 50, 64, 200_000 // scale),
        "closed_loop.durable": lambda: one_outstanding("durable", 3_000 // scale),
        "closed_loop.memory": lambda: one_outstanding("memory", 3_000 // scale),
        "crowded": lambda: crowded("durable", 100_000 // scale, 20.0 / scale),
    }
    figures: list[Figure] = []
    for name, run in scenarios.items():
        if arguments.only in name:
            sys.stderr.write(f"{name} ...\n")
            figures += run()
    write(figures)
    sys.stdout.write(f"{table(figures)}\n\nwritten to {OUT}\n")


if __name__ == "__main__":
    main()
