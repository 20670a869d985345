"""The life of a bidirectional stream: a reader and a writer, and one future that ends it.

The handler only awaits ``closed``; whatever ends the stream - a task that failed,
the peer, the runtime - sets it once, and the first reason stands. Reader and
writer are tasks of their own, so that no read is ever cancelled half way while
the stream goes on (the next one would lose a message).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.rpc.method import PeerGone
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from upbeat_server.engine.model import Refusal


class StreamLife:
    """The tasks of one stream, and why it ends."""

    def __init__(self) -> None:
        # The refusal to end with; None in peace; an exception for a defect.
        self.closed: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run a part of the stream. Only its failure ends the stream."""
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def end(self, refusal: Refusal | None) -> None:
        """End the stream, if nothing has yet."""
        if not self.closed.done():
            self.closed.set_result(refusal)

    def end_with(self, other: asyncio.Future[Refusal | None]) -> None:
        """End the stream when and as ``other`` ends."""
        other.add_done_callback(lambda ended: None if ended.cancelled() else self.end(ended.result()))

    def cancel(self) -> None:
        """Stop what still runs. Synchronous, for a handler's ``finally``."""
        tasks, self._tasks = self._tasks, []  # Kept, they would keep this by the frames they ended in.
        for task in tasks:
            task.cancel()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None or self.closed.done():
            return
        if isinstance(error, Refused):
            self.end(error.refusal)
        elif isinstance(error, PeerGone):
            self.end(None)
        else:
            self.closed.set_exception(error)  # The wrapper turns a defect into INTERNAL.
