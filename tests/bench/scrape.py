"""``python -m tests.bench.scrape``: what a scrape of a crowded server costs whoever calls meanwhile.

Fills a server with tasks of many types, priorities and fairness keys, connects agents that offer none of
them, and asks for stats as often as it can, first alone and then beside scrapes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from tests.bench.figures import percentile
from tests.bench.fill import Unary
from tests.bench.processes import Child
from tests.bench.work import echo_spec
from tests.support.http_call import get
from tests.support.server_process import ServerProcess, free_port
from upbeat.v1 import task_service_pb2 as wire
from upbeat.v1 import task_spec_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TYPES = 50
FAIRNESS_KEYS = 1_000
BATCH_TASKS = 1_000
CALLS_AT_ONCE = 4
PROCESSES = 2
STREAMS = 100
PAUSE_S = 0.002
SETTINGS = {"engine.bounds.queue_tasks_max": 2_000_000, "engine.bounds.queue_bytes_max": 16 << 30}


async def fill(channel: grpc.aio.Channel, count: int) -> None:
    """Submit tasks of all types, priorities and keys."""
    submit: Unary = channel.unary_unary("/upbeat.v1.TaskService/BatchSubmitTasks")
    firsts = iter(range(0, count, BATCH_TASKS))

    async def lane() -> None:
        for first in firsts:
            batch = wire.BatchSubmitTasksRequest()
            for number in range(first, first + BATCH_TASKS):
                spec = echo_spec(f"type-{number % TYPES}")
                spec.priority = list(task_spec_pb2.Priority.values())[1 + number // TYPES % 4]
                spec.fairness_key = f"key-{number % FAIRNESS_KEYS}"
                batch.requests.add(spec=spec)
            await submit(batch.SerializeToString())

    await asyncio.gather(*(lane() for _ in range(CALLS_AT_ONCE)))


async def latencies_s(channel: grpc.aio.Channel, until: Awaitable[object]) -> list[float]:
    """How long one small call after the other takes until something is over."""
    get_task: Unary = channel.unary_unary("/upbeat.v1.TaskService/GetTask")
    ends = asyncio.ensure_future(until)
    took: list[float] = []
    while not ends.done():
        began = time.perf_counter()
        with contextlib.suppress(grpc.aio.AioRpcError):  # There is no such task: that it is answered counts.
            await get_task(wire.GetTaskRequest(task_id="0" * 16).SerializeToString())
        took.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_S)
    await ends
    return took


async def scrape_often(port: int, times: int, scrapes: list[tuple[float, str]]) -> None:
    """Scrape with pauses; keeps seconds and text of each."""
    for _ in range(times):
        began = time.perf_counter()
        body = (await get(port, "/metrics")).body
        scrapes.append((time.perf_counter() - began, body))
        await asyncio.sleep(0.5)


def line(name: str, took: list[float]) -> str:
    """The spread of some durations."""
    p50, p99 = (percentile(took, share) * 1e3 for share in (0.5, 0.99))
    return (
        f"{name:<28} p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  max {max(took) * 1e3:6.1f} ms  ({len(took)} calls)"
    )


async def measure(process: ServerProcess, http_port: int, queued: int, say: Callable[[str], None]) -> None:
    """Fill, call, call beside scrapes."""
    async with grpc.aio.insecure_channel(process.address) as channel:
        await fill(channel, queued)
        await asyncio.sleep(1)
        say(line("calls alone", await latencies_s(channel, asyncio.sleep(5))))
        scrapes: list[tuple[float, str]] = []
        beside = await latencies_s(channel, scrape_often(http_port, 10, scrapes))
        say(line("calls beside scrapes", beside))
        say(line("scrapes", [took for took, _ in scrapes]))
        text = scrapes[-1][1]
        series = sum(not sample.startswith("#") for sample in text.splitlines())
        say(f"one scrape has {len(text):,} bytes, {series:,} series")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--queued", type=int, default=1_000_000)
    terms = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upbeat-scrape-")))
        http_port = free_port()
        options = ("--http", f"127.0.0.1:{http_port}")
        process = stack.enter_context(
            ServerProcess(f"sqlite:{folder / 'bench.db'}", folder, *options, settings=SETTINGS)
        )
        fleet = (process.address, terms.agents // PROCESSES, 1, "--offers", "rest", "--streams", STREAMS)
        fleets = [
            stack.enter_context(
                Child("tests.bench.echo_agents", *fleet, "--prefix", f"a{n}", patience_s=1_800)
            )
            for n in range(PROCESSES)
        ]
        for child in fleets:
            child.expect("ready")
        print(f"{terms.agents:,} agents, {terms.queued:,} queued", flush=True)
        asyncio.run(measure(process, http_port, terms.queued, print))


if __name__ == "__main__":
    main()
