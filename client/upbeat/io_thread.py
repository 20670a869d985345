"""The one thread of a process that talks gRPC, with an event loop of its own.

Streams, heartbeats, assignment acks and all calls of clients live here, so that
a blocked handler can neither stop a heartbeat nor starve other calls. Rules:
nothing on this thread may block or run users' code; nobody else touches gRPC;
whatever crosses between threads goes through `IoThread.call` or a `Crossing`.

The thread starts with its first use and is a daemon. It does not survive a
fork: a forked child gets a clear error instead of a silent hang.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")


class Crossing:
    """Runs callables on another thread's loop, in order, many per wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_woken = False

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Have `call(*args)` run over there; nothing happens if that loop has closed."""
        self._calls.append((call, args))
        if self._is_woken:
            return
        # Two posters may both get here: a second wake-up finds nothing to do.
        self._is_woken = True
        try:
            self.loop.call_soon_threadsafe(self._run)
        except RuntimeError:  # The loop is closed, and with it whoever waited there.
            self._calls.clear()

    def _run(self) -> None:
        self._is_woken = False  # First: what is posted from now on wakes again.
        for _ in range(len(self._calls)):
            call, args = self._calls.popleft()
            try:
                call(*args)
            except Exception as error:
                self.loop.call_exception_handler({"message": f"upbeat: {call!r} failed", "exception": error})


class IoThread:
    """The thread and its loop; get it with `io_thread()`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.crossing = Crossing(self.loop)
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="upbeat-io", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # Signals are the main thread's: only there do they wake what blocks.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def start_call(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the thread; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the thread and await it here; cancellation reaches it."""
        if asyncio.get_running_loop() is self.loop:
            return await coroutine
        return await asyncio.wrap_future(self.start_call(coroutine))

    @property
    def is_current(self) -> bool:
        """Whether the caller is on this thread."""
        return threading.current_thread() is self._thread

    @property
    def is_of_this_process(self) -> bool:
        """False in a forked child, where the thread does not exist."""
        return self._pid == os.getpid()


_lock = threading.Lock()
_thread: IoThread | None = None


def io_thread() -> IoThread:
    """The process's I/O thread, started if need be.

    Raises RuntimeError in a process that was forked from one that used upbeat.
    """
    global _thread  # noqa: PLW0603 - one per process, by design
    thread = _thread
    if thread is None:
        with _lock:
            thread = _thread
            if thread is None:
                thread = _thread = IoThread()
    if not thread.is_of_this_process:
        raise RuntimeError(
            "this process was forked from one that had used upbeat, and gRPC does not survive a fork: "
            "start processes with the 'spawn' method, or fork before the first use"
        )
    return thread
