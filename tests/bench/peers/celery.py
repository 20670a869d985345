"""Celery on Redis (results there too) or RabbitMQ (results by RPC): groups of tasks, a worker of threads.

Two or four processes did about as well in short runs. With gevent every result sent by RPC took 0.1 s.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

from celery import Celery, group

from tests.bench.peers import brokers, load

CHUNK, CHUNKS = 64, 8
ANSWER_S_MAX = 60.0
DURABILITY = {
    "celery_redis": "Redis snapshots, acknowledged before it runs",
    "celery_rabbitmq": "persistent messages without publisher confirms, acknowledged before it runs, "
    "results not stored",
}


def connect(url: str, results: str) -> tuple[Any, Any]:
    """The application and its task."""
    application: Any = Celery("peer", broker=url, backend=results)
    application.conf.broker_connection_retry_on_startup = True

    def echo(text: str) -> str:
        return text

    return application, application.task(echo, name="echo")


if "BROKER" in os.environ:  # The worker imports this.
    app, _ = connect(os.environ["BROKER"], os.environ["RESULTS"])


def submit(given: load.Arguments, broker: brokers.Broker, worker_pid: int, results: str) -> None:
    """Load the worker, report."""
    application, echo = connect(broker.url, results)

    def single(text: str) -> object:
        return echo.delay(text).get(timeout=ANSWER_S_MAX)

    def bulk(texts: list[str]) -> Any:
        return group(echo.s(text) for text in texts).apply_async()

    def collect(started: Any) -> list[str]:
        return list(started.get(timeout=ANSWER_S_MAX))

    load.verify(single("first"), "first")
    window = load.Window(given.plan, load.Meter(broker=[broker.pid], worker=[worker_pid]))
    load.keep_chunks(bulk, collect, chunk=CHUNK, chunks=CHUNKS, window=window)
    samples = load.one_at_a_time(single, given.plan)
    application.close()
    facts = {
        "version": f"celery {version('celery')}",
        "broker": broker.words,
        "durability": DURABILITY[given.peer],
        "worker": f"1 process, {load.CONCURRENCY} threads",
        "outstanding": f"{CHUNKS} groups of {CHUNK}",
    }
    load.report(window, samples, facts)


def main() -> None:
    """Start broker and worker, load them."""
    given = load.arguments()
    with brokers.Processes() as processes:
        on_redis = given.peer == "celery_redis"
        broker = brokers.redis(processes) if on_redis else brokers.rabbitmq(processes)
        results = broker.url if on_redis else "rpc://"
        settings = {"BROKER": broker.url, "RESULTS": results, "C_FORCE_ROOT": "1"}
        options = ["worker", "-P", "threads", "-c", load.CONCURRENCY, "-l", "WARNING"]
        command = brokers.worker_command("celery", "-A", "tests.bench.peers.celery", *options)
        worker = processes.start(command, "worker", settings=settings)
        submit(given, broker, worker.pid, results)


if __name__ == "__main__":
    main()
