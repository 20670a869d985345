"""An event loop without time: when nothing is ready, the clock jumps to the next timer.

Every callback belongs to a ``Host``, by the context it was scheduled in. A host that
is killed never runs again - no ``finally``, no farewell - and one that is frozen runs
later. Which host goes first is drawn from the seed; within a host the order is kept,
as asyncio promises.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

START_S = 10_000.0


class Host:
    """A machine or a process: what dies and freezes as one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self.backlog: list[asyncio.Handle] = []
        self.context = Context()
        self.context.run(HOST.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}>"


HOST: ContextVar[Host] = ContextVar("host")
STEPS_MAX = 3_000_000


class Stuck(Exception):
    """Nothing can happen any more, or far too much has."""


_Base: Any = asyncio.AbstractEventLoop  # Of which a run needs a dozen methods.


class VirtualLoop(_Base):  # type: ignore[misc]
    """Deterministic; made for one run."""

    def __init__(self, rng: Random, shuffle: float) -> None:
        self._rng = rng
        self._shuffle = shuffle  # How often the host that is next has to wait for the others.
        self._now_s = START_S
        self._ready: deque[tuple[Host, asyncio.Handle]] = deque()
        self._timers: list[tuple[float, int, Host, asyncio.TimerHandle]] = []
        self._timer_number = 0
        self._tasks: list[asyncio.Task[Any]] = []  # None is collected before the run is over.
        self._is_over = False
        self.world = Host("world")
        self.steps = 0
        self.failures: list[str] = []

    # What asyncio asks of a loop.

    def time(self) -> float:
        """Virtual seconds."""
        return self._now_s

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Always, for whoever is inside."""
        return True

    def is_closed(self) -> bool:
        """Whether the run is over."""
        return self._is_over

    def _host(self, context: Context | None) -> Host:
        found = HOST.get(None) if context is None else context.get(HOST)
        return found if found is not None else self.world

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run it when its host comes up."""
        handle = asyncio.Handle(callback, args, self, context)
        host = self._host(context)
        if not (host.is_dead or self._is_over):
            self._ready.append((host, handle))
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run it after ``delay`` virtual seconds."""
        return self.call_at(self._now_s + max(0.0, delay), callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run it at a virtual time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_number += 1
        heapq.heappush(self._timers, (when, self._timer_number, self._host(context), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when they come up."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_options: Any,
    ) -> asyncio.Task[Any]:
        """A task of the host in whose context it is made."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A defect that nobody caught."""
        if not self._is_over:
            error = context.get("exception")
            self.failures.append(f"loop: {context.get('message')}: {error!r}")

    # What the world does with it.

    def start(self, host: Host, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine on a host; that it raises is a failure of the run."""
        task = self.create_task(coroutine, context=host.context.copy())
        task.add_done_callback(self._started_ended, context=host.context.copy())
        return task

    def _started_ended(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._is_over:
            where = _origin(error)
            self.failures.append(f"{task.get_coro().__qualname__}: {error!r} in {where}")  # type: ignore[union-attr]

    def kill(self, host: Host) -> None:
        """The host is gone in this instant."""
        host.is_dead = True
        host.backlog.clear()

    def freeze(self, host: Host) -> None:
        """The host does not run until it is thawed."""
        host.is_frozen = True

    def thaw(self, host: Host) -> None:
        """The host goes on, with all that it missed."""
        host.is_frozen = False
        self._ready.extend((host, handle) for handle in host.backlog)
        host.backlog.clear()

    def run_until(self, is_over: Callable[[], bool], until_s: float) -> bool:
        """Run until the condition holds or the virtual time comes; whether it holds.

        Raises Stuck when there is nothing left that could bring it about.
        """
        asyncio.events._set_running_loop(self)
        try:
            while not is_over():
                if self._now_s >= until_s:
                    return False
                self._run_ready()
                if self._ready or is_over():
                    continue
                self._advance()
            return True
        finally:
            asyncio.events._set_running_loop(None)

    def _run_ready(self) -> None:
        ready = self._ready
        for _ in range(len(ready)):
            if not ready:
                return
            if self._shuffle and len(ready) > 1 and self._rng.random() < self._shuffle:
                self._put_behind(ready[0][0])
            host, handle = ready.popleft()
            if host.is_dead or handle.cancelled():
                continue
            if host.is_frozen:
                host.backlog.append(handle)
                continue
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise Stuck(f"{STEPS_MAX:,} callbacks and no end")
            handle._run()

    def _put_behind(self, host: Host) -> None:
        """What the host would do now it does after everybody else."""
        others = [entry for entry in self._ready if entry[0] is not host]
        own = [entry for entry in self._ready if entry[0] is host]
        self._ready.clear()
        self._ready.extend(others)
        self._ready.extend(own)

    def _advance(self) -> None:
        """Nothing is ready: time passes until something is."""
        timers = self._timers
        while timers:
            when_s, _, host, handle = heapq.heappop(timers)
            if handle.cancelled() or host.is_dead:
                continue
            self._now_s = max(self._now_s, when_s)
            self._ready.append((host, handle))
            while timers and timers[0][0] <= self._now_s:
                _, _, host, handle = heapq.heappop(timers)
                if not (handle.cancelled() or host.is_dead):
                    self._ready.append((host, handle))
            return
        raise Stuck("nothing will ever happen again")

    def end(self) -> None:
        """Close every coroutine; nothing of it is run or told."""
        self._is_over = True
        self._ready.clear()
        self._timers.clear()
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coroutine: Any = task.get_coro()
                with suppress(BaseException):  # It was cut off in the middle of whatever.
                    coroutine.close()
        self._tasks.clear()


def _origin(error: BaseException) -> str:
    """Where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "nowhere" if trace is None else f"{trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"
