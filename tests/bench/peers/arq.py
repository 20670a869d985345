"""arq on Redis: jobs enqueued one by one, many at once, results polled. There is no bulk call."""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import version
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings

from tests.bench.peers import brokers, load

CHUNK, LANES = 64, 4
# The default, 0.5 s, of both the worker and the wait for a result would be what is measured.
POLL_S = 0.002


async def echo(_: dict[str, Any], text: str) -> str:
    """The task."""
    return text


class WorkerSettings:
    """What ``arq`` runs."""

    functions: ClassVar = [echo]
    redis_settings = RedisSettings.from_dsn(os.environ.get("BROKER", "redis://127.0.0.1"))
    max_jobs = load.CONCURRENCY
    poll_delay = POLL_S


async def submit(given: load.Arguments, broker: brokers.Broker, worker_pid: int) -> None:
    """Load the worker, report."""
    pool: Any = await create_pool(RedisSettings.from_dsn(broker.url))
    payloads = load.texts()

    async def single(text: str) -> object:
        job = await pool.enqueue_job("echo", text)
        return await job.result(poll_delay=POLL_S)

    async def lane(window: load.Window) -> None:
        sent = [next(payloads) for _ in range(CHUNK)]
        jobs = await asyncio.gather(*(pool.enqueue_job("echo", text) for text in sent))
        for text, job in zip(sent, jobs, strict=True):
            load.verify(await job.result(poll_delay=POLL_S), text)
            window.add(1)

    load.verify(await single("first"), "first")
    window = load.Window(given.plan, load.Meter(broker=[broker.pid], worker=[worker_pid]))
    await load.keep_full(lane, LANES, window)
    samples = await load.one_at_a_time_async(single, given.plan)
    await pool.aclose()
    facts = {
        "version": f"arq {version('arq')}",
        "broker": broker.words,
        "durability": "Redis snapshots",
        "worker": f"1 process, {load.CONCURRENCY} jobs, polls every {POLL_S * 1_000:g} ms (default 500)",
        "outstanding": f"{CHUNK * LANES} jobs",
    }
    load.report(window, samples, facts)


def main() -> None:
    """Start broker and worker, load them."""
    given = load.arguments()
    with brokers.Processes() as processes:
        broker = brokers.redis(processes)
        command = brokers.worker_command("arq", "tests.bench.peers.arq.WorkerSettings")
        worker = processes.start(command, "worker", settings={"BROKER": broker.url})
        load.run(submit(given, broker, worker.pid))


if __name__ == "__main__":
    main()
