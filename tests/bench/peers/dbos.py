"""DBOS on PostgreSQL: a client enqueues workflows, many in one transaction, and polls for their results."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient

from tests.bench.peers import brokers, load

CHUNK, CHUNKS = 64, 4
POLL_S = 0.005  # The default of the queue and of the wait for a result, 1 s, would be what is measured.
READY_S_MAX = 30.0
ENQUEUED = {"queue_name": "tasks", "workflow_name": "echo", "app_version": "1"}


def work(url: str, ready: Path) -> None:
    """Be the worker; the file ``ready`` appears once it is."""
    DBOS(
        config={
            "name": "peer",
            "system_database_url": url,
            "log_level": "WARNING",
            "application_version": "1",
        }
    )

    @DBOS.workflow(name="echo")
    async def echo(text: str) -> str:
        return text

    DBOS.launch()
    DBOS.register_queue("tasks", worker_concurrency=load.CONCURRENCY, polling_interval_sec=POLL_S)
    ready.touch()
    threading.Event().wait()


def start_worker(peer: str, broker: brokers.Broker, processes: brokers.Processes) -> int:
    """Start the worker and wait until it is ready. Answers its process id."""
    ready = Path(tempfile.mkdtemp(prefix="dbos-")) / "ready"
    command = load.myself("dbos", peer, "worker")
    worker = processes.start_script(command, BROKER=broker.url, READY=str(ready))
    ends_at = time.monotonic() + READY_S_MAX
    while not ready.exists():
        if worker.poll() is not None or time.monotonic() > ends_at:
            raise RuntimeError(f"the worker is not ready: it ended with {worker.poll()}")
        time.sleep(0.02)
    return worker.pid


def submit(given: load.Arguments, broker: brokers.Broker, worker_pid: int) -> None:
    """Load the worker, report."""
    url = broker.url.replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(url)
    client: Any = DBOSClient(system_database_url=broker.url)

    def single(text: str) -> object:
        return client.enqueue(ENQUEUED, text).get_result(polling_interval_sec=POLL_S)

    def bulk(texts: list[str]) -> list[Any]:
        with engine.begin() as connection:
            return [client.enqueue_in_transaction(connection, ENQUEUED, text) for text in texts]

    def collect(handles: list[Any]) -> list[str]:
        return [handle.get_result(polling_interval_sec=POLL_S) for handle in handles]

    load.verify(single("first"), "first")
    window = load.Window(given.plan, load.Meter(broker=[broker.pid], worker=[worker_pid]))
    load.keep_chunks(bulk, collect, chunk=CHUNK, chunks=CHUNKS, window=window)
    samples = load.one_at_a_time(single, given.plan)
    facts = {
        "version": f"dbos {version('dbos')}",
        "broker": broker.words,
        "durability": "fsync each commit, results stored",
        "worker": f"1 process, {load.CONCURRENCY} workflows",
        "outstanding": f"{CHUNKS} transactions of {CHUNK}, polled each {POLL_S * 1_000:g} ms (default 1,000)",
    }
    load.report(window, samples, facts)


def main() -> None:
    """Be the worker or, in a process of its own, the submitter that has started it."""
    given = load.arguments()
    if given.role == "worker":
        work(os.environ["BROKER"], Path(os.environ["READY"]))
        return
    with brokers.Processes() as processes:
        broker = brokers.postgres(processes)
        submit(given, broker, start_worker(given.peer, broker, processes))


if __name__ == "__main__":
    main()
