"""procrastinate on PostgreSQL: jobs deferred in batches, a worker that is notified.

It keeps no results: what comes back is that a job has succeeded, seen by asking the database.
"""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import version
from typing import Any

import procrastinate

from tests.bench.peers import brokers, load

BATCH, BATCHES = 250, 4
POLL_S = 0.002
# A notification that comes while the worker looks and finds nothing is forgotten; the job then waits for this
# interval, by default 5 s, which one such job made the 99th percentile.
FALLBACK_S = 0.05
UNFINISHED = "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
UNSUCCESSFUL = "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status <> 'succeeded'"


def connect(url: str) -> tuple[Any, Any]:
    """The application and its task."""
    application: Any = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))

    async def echo(text: str) -> str:
        return text

    return application, application.task(name="echo")(echo)


async def work(url: str) -> None:
    """Be the worker."""
    application, _ = connect(url)
    async with application.open_async():
        await application.run_worker_async(
            concurrency=load.CONCURRENCY, fetch_job_polling_interval=FALLBACK_S
        )


async def count(application: Any, query: str) -> int:
    """The number that a query answers."""
    return int((await application.connector.execute_query_one_async(query))["jobs"])


async def keep_deferred(application: Any, echo: Any, window: load.Window) -> None:
    """Keep the queue as full as its batches allow until the window is over, then wait until it is empty."""
    payloads, unfinished = load.texts(), 0
    while unfinished or not window.is_over:
        if unfinished <= BATCH * (BATCHES - 1) and not window.is_over:
            await echo.batch_defer_async(*({"text": next(payloads)} for _ in range(BATCH)))
            unfinished += BATCH
        else:
            await asyncio.sleep(POLL_S)
        left = await count(application, UNFINISHED)
        window.add(unfinished - left)
        unfinished = left
    if failed := await count(application, UNSUCCESSFUL):
        raise RuntimeError(f"{failed} jobs did not succeed")


async def submit(given: load.Arguments, broker: brokers.Broker, processes: brokers.Processes) -> None:
    """Make the tables, start the worker, load it, report."""
    application, echo = connect(broker.url)
    async with application.open_async():
        await application.schema_manager.apply_schema_async()
        command = load.myself("procrastinate", given.peer, "worker")
        worker = processes.start_script(command, BROKER=broker.url)

        async def single(text: str) -> object:
            job = await echo.defer_async(text=text)
            while True:
                state = await application.job_manager.get_job_status_async(job)
                if state.value == "succeeded":
                    return text
                await asyncio.sleep(POLL_S)

        await single("first")
        window = load.Window(given.plan, load.Meter(broker=[broker.pid], worker=[worker.pid]))
        await keep_deferred(application, echo, window)
        samples = await load.one_at_a_time_async(single, given.plan)
    facts = {
        "version": f"procrastinate {version('procrastinate')}",
        "broker": broker.words,
        "durability": "fsync each commit, results not stored",
        "worker": f"1 process, {load.CONCURRENCY} jobs, looks each {FALLBACK_S * 1_000:g} ms (default 5,000)",
        "outstanding": f"{BATCHES} batches of {BATCH}, state polled every {POLL_S * 1_000:g} ms",
    }
    load.report(window, samples, facts)


def main() -> None:
    """Be the worker or, in a process of its own, the submitter that has started it."""
    given = load.arguments()
    if given.role == "worker":
        asyncio.run(work(os.environ["BROKER"]))
        return
    with brokers.Processes() as processes:
        load.run(submit(given, brokers.postgres(processes), processes))


if __name__ == "__main__":
    main()
