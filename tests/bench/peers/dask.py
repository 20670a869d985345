"""Dask distributed: a scheduler and a worker; async functions mapped in bulk and gathered."""

from __future__ import annotations

from typing import Any

import distributed

from tests.bench.peers import brokers, load

CHUNK, CHUNKS = 256, 4


async def echo(text: str) -> str:
    """The task: a coroutine on the worker's loop, faster there than a thread."""
    return text


def submit(given: load.Arguments, address: str, meter: load.Meter) -> None:
    """Load the worker, report."""
    with distributed.Client(address) as client:
        client.wait_for_workers(1, timeout=30)

        def single(text: str) -> object:
            return client.submit(echo, text, pure=False).result()

        def bulk(texts: list[str]) -> Any:
            return client.map(echo, texts, pure=False)

        def collect(futures: Any) -> list[str]:
            return list(client.gather(futures))

        load.verify(single("first"), "first")
        window = load.Window(given.plan, meter)
        load.keep_chunks(bulk, collect, chunk=CHUNK, chunks=CHUNKS, window=window)
        samples = load.one_at_a_time(single, given.plan)
    facts = {
        "version": f"distributed {distributed.__version__}",
        "broker": "its scheduler, own process",
        "durability": "no",
        "worker": f"1 process, {load.CONCURRENCY} slots, async functions",
        "outstanding": f"{CHUNKS} maps of {CHUNK}",
    }
    load.report(window, samples, facts)


def main() -> None:
    """Start scheduler and worker, load them."""
    given = load.arguments()
    with brokers.Processes() as processes:
        port = brokers.free_port()
        listen = ["--host", "127.0.0.1", "--no-dashboard"]
        command = brokers.worker_command("distributed.cli.dask_scheduler", *listen, "--port", port)
        scheduler = processes.start(command, "scheduler")
        processes.wait_for(port, scheduler)
        address = f"tcp://127.0.0.1:{port}"
        options = ["--nworkers", 1, "--nthreads", load.CONCURRENCY, "--no-nanny", address]
        command = brokers.worker_command("distributed.cli.dask_worker", *listen, *options)
        worker = processes.start(command, "worker")
        submit(given, address, load.Meter(scheduler=[scheduler.pid], worker=[worker.pid]))


if __name__ == "__main__":
    main()
