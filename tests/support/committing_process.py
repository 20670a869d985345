"""Commits tasks to a SQLite store for ever and prints each acknowledged id, until it is killed.

Run as ``python -m tests.support.committing_process PATH``.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from tests.support.rows import COMPLETED, batch, first_row, later_row
from upbeat_server.store.sqlite import SqliteStore

WORKERS = 4


def record_of(task_id: int) -> bytes:
    """What the last row of a task says."""
    return b"done %d " % task_id * 50


async def work(store: SqliteStore, epoch: int, worker: int) -> None:
    """Submit and finish one task after the other, each in two commits."""
    for number in count():
        task_id = epoch << 40 | number * WORKERS + worker + 1
        row = first_row(task_id, request_id=str(task_id), labels={"worker": str(worker)})
        await store.commit([batch(row, epoch=epoch, clock_ms=number)])
        print(f"submitted {task_id}", flush=True)
        last = later_row(task_id, COMPLETED, end_ms=number + 1, record=record_of(task_id))
        await store.commit([batch(last, epoch=epoch, clock_ms=number)])
        print(f"finished {task_id}", flush=True)


async def main() -> None:
    """Adopt the namespace and let the workers go."""
    store = SqliteStore(sys.argv[1])
    await store.open()
    epoch = (await store.adopt("default")).epoch
    await asyncio.gather(*(work(store, epoch, worker) for worker in range(WORKERS)))


if __name__ == "__main__":
    asyncio.run(main())
