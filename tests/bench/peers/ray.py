"""Ray: a head node; calls of one async actor, or tasks of two workers, submitted and got in bulk."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import ray

from tests.bench.peers import brokers, load

CHUNK, CHUNKS = 256, 4
CORES = 2
OBJECT_STORE_BYTES = 512 * 1024 * 1024
WORKER = {
    "ray_actor": f"1 async actor, {load.CONCURRENCY} calls at once",
    "ray_tasks": f"{CORES} worker processes",
}


@ray.remote(max_concurrency=load.CONCURRENCY)
class Actor:
    """An actor on an event loop."""

    async def echo(self, text: str) -> str:
        """The call."""
        return text


@ray.remote
def echo(text: str) -> str:
    """The task."""
    return text


def submit(given: load.Arguments, head_pid: int) -> None:
    """Load the workers, report. The first result may take seconds: Ray starts the workers then."""
    actor_type: Any = Actor  # The decorator has made it something else.
    call: Any = actor_type.remote().echo.remote if given.peer == "ray_actor" else echo.remote

    def single(text: str) -> object:
        return ray.get(call(text))

    def bulk(texts: list[str]) -> list[Any]:
        return [call(text) for text in texts]

    load.verify(single("first"), "first")
    window = load.Window(given.plan, load.Meter(cluster=[head_pid]))
    load.keep_chunks(bulk, ray.get, chunk=CHUNK, chunks=CHUNKS, window=window)
    samples = load.one_at_a_time(single, given.plan)
    facts = {
        "version": f"ray {ray.__version__}",
        "broker": "its head node, own processes",
        "durability": "no",
        "worker": WORKER[given.peer],
        "outstanding": f"{CHUNKS} lists of {CHUNK}",
    }
    load.report(window, samples, facts)


def main() -> None:
    """Start a head node, load it."""
    given = load.arguments()
    with brokers.Processes() as processes:
        port = brokers.free_port()
        options = ["--head", "--block", "--port", port, "--node-ip-address", "127.0.0.1", "--num-cpus", CORES]
        options += ["--include-dashboard", "false", "--disable-usage-stats"]
        options += [
            "--object-store-memory",
            OBJECT_STORE_BYTES,
            "--temp-dir",
            tempfile.mkdtemp(prefix="ray-"),
        ]
        command = [Path(sys.executable).with_name("ray"), "start", *options]
        head = processes.start(command, "head")
        processes.wait_for(port, head)
        ray.init(address=f"127.0.0.1:{port}", logging_level="ERROR", log_to_driver=False)
        submit(given, head.pid)
        ray.shutdown()


if __name__ == "__main__":
    main()
