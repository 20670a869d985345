"""Background work of the runtime that the loop does not wait for, with an owner and an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = structlog.get_logger("upbeat.runtime")


class Errands:
    """Tasks that were started and have not ended."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], None] = {}  # In the order in which they began.

    def start(self, errand: Coroutine[Any, Any, None], name: str) -> None:
        """Run it. A failure is logged: nobody waits for it."""
        task = asyncio.get_running_loop().create_task(errand, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Cancel what runs and wait for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("errand_failed", errand=task.get_name(), exc_info=task.exception())
