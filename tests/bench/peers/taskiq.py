"""Taskiq on Redis: the list broker and the result backend of taskiq-redis, results polled."""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import version
from typing import Any

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from tests.bench.peers import brokers, load

CHUNK, LANES = 64, 8
POLL_S = 0.002  # The default, 0.2 s, would be what is measured.


def connect(url: str) -> tuple[Any, Any]:
    """The broker and its task."""
    broker: Any = ListQueueBroker(url).with_result_backend(RedisAsyncResultBackend(url, result_ex_time=600))

    async def echo(text: str) -> str:
        return text

    return broker, broker.register_task(echo, task_name="echo")


if "BROKER" in os.environ:  # The worker imports this.
    tasks, _ = connect(os.environ["BROKER"])


async def submit(given: load.Arguments, broker: brokers.Broker, worker_pid: int) -> None:
    """Load the worker, report."""
    queue, echo = connect(broker.url)
    await queue.startup()
    payloads = load.texts()

    async def result(task: Any) -> object:
        return (await task.wait_result(check_interval=POLL_S, timeout=30)).return_value

    async def single(text: str) -> object:
        return await result(await echo.kiq(text))

    async def lane(window: load.Window) -> None:
        sent = [next(payloads) for _ in range(CHUNK)]
        started = await asyncio.gather(*(echo.kiq(text) for text in sent))
        for text, task in zip(sent, started, strict=True):
            load.verify(await result(task), text)
            window.add(1)

    load.verify(await single("first"), "first")
    window = load.Window(given.plan, load.Meter(broker=[broker.pid], worker=[worker_pid]))
    await load.keep_full(lane, LANES, window)
    samples = await load.one_at_a_time_async(single, given.plan)
    await queue.shutdown()
    facts = {
        "version": f"taskiq {version('taskiq')}, taskiq-redis {version('taskiq-redis')}",
        "broker": broker.words,
        "durability": "Redis snapshots, no acknowledgement: a task is lost with its worker",
        "worker": f"1 process on uvloop, {load.CONCURRENCY} async tasks",
        "outstanding": f"{CHUNK * LANES} tasks, results polled every {POLL_S * 1_000:g} ms (default 200)",
    }
    load.report(window, samples, facts)


def main() -> None:
    """Start broker and worker, load them."""
    given = load.arguments()
    with brokers.Processes() as processes:
        broker = brokers.redis(processes)
        options = ["worker", "--workers", 1, "--max-async-tasks", load.CONCURRENCY, "--log-level", "WARNING"]
        command = brokers.worker_command("taskiq", *options, "tests.bench.peers.taskiq:tasks")
        worker = processes.start(command, "worker", settings={"BROKER": broker.url})
        load.run(submit(given, broker, worker.pid))


if __name__ == "__main__":
    main()
