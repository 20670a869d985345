"""Threads for sync handlers: as many as there are slots, started as they are needed.

They are daemons, unlike those of concurrent.futures: a handler that ignores its
cancellation must not keep a process from ending.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class WorkerThreads:
    """A pool; `run` is for one thread only, the rest is its own business."""

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._threads_count = 0
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)

    def run(self, job: Callable[[], None]) -> None:
        """Have a thread run the job, which must not raise."""
        if not self._idle.acquire(blocking=False) and self._threads_count < self._threads_max:
            self._threads_count += 1
            threading.Thread(
                target=self._work, name=f"upbeat-worker-{self._threads_count}", daemon=True
            ).start()
        self._jobs.put(job)

    def stop(self) -> None:
        """Threads end as they come free."""
        for _ in range(self._threads_count):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            self._idle.release()
