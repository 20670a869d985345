"""Everybody who talks to a server in an episode: callers, watchers and agents, with one ledger."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.faults.callers import BatchCaller, Caller, UnaryCaller
from tests.faults.stream_callers import SdkCaller, SdkWatcher, StreamCaller, Watcher
from tests.support import facts as f
from tests.support.facts import Ledger
from upbeat.io_thread import io_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP_S = 60.0
LOOK_AGAIN_S = 0.1


class SdkThread:
    """SDK callers and watchers on an event loop of their own, as a user has them."""

    def __init__(self, callers: Sequence[SdkCaller], watchers: Sequence[SdkWatcher]) -> None:
        self._callers = callers
        self._watchers = watchers
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._end_watches = threading.Event()
        self._callers_ended = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            self._error = error

    async def _live(self) -> None:
        watches = [asyncio.create_task(watcher.run()) for watcher in self._watchers]
        try:
            await asyncio.gather(*(caller.run() for caller in self._callers))
            self._callers_ended.set()
            await asyncio.to_thread(self._end_watches.wait)
        finally:
            self._callers_ended.set()
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    def stop_callers(self) -> None:
        """Have them finish what they have begun."""
        for caller in self._callers:
            caller.is_stopping = True

    def wait_for_callers(self) -> None:
        """Until they have. Raises TimeoutError."""
        if not self._callers_ended.wait(timeout=STOP_S):
            raise TimeoutError("the SDK's callers do not end")

    def join(self) -> None:
        """End the watches and wait. Raises what a caller raised."""
        self._end_watches.set()
        self._thread.join(timeout=STOP_S)
        if self._thread.is_alive():
            raise TimeoutError("the SDK's callers do not end")
        if self._error is not None:
            raise self._error


class Crowd:
    """Callers of every kind and two kinds of watchers; all of it from one seed."""

    def __init__(self, address: str, seed: str) -> None:
        self.ledger = Ledger()
        kinds = (UnaryCaller, UnaryCaller, BatchCaller, StreamCaller)
        self._callers: list[Caller] = [
            kind(address, self.ledger, f"{seed}/{kind.__name__}{number}") for number, kind in enumerate(kinds)
        ]
        self._watcher = Watcher(address, self.ledger, f"{seed}/watcher")
        self._sdk = SdkThread(
            [SdkCaller(address, self.ledger, f"{seed}/sdk")],
            [SdkWatcher(address, self.ledger, f"{seed}/sdk-watcher")],
        )
        self._futures: list[Any] = []
        self._watching: Any = None

    def start(self) -> None:
        """Everybody begins."""
        self._futures = [io_thread().start_call(caller.run()) for caller in self._callers]
        self._watching = io_thread().start_call(self._watcher.run())
        self._sdk.start()

    def check(self) -> None:
        """Raise what a caller raised: none may end by itself."""
        for future in [*self._futures, self._watching]:
            if future.done():
                future.result()
                raise AssertionError("a caller has ended before it was told to")

    def wait_for(self, acknowledged: int) -> None:
        """Wait until so many submissions were acknowledged in all. Raises TimeoutError."""
        self.check()
        self.ledger.wait_for(f.Acknowledged, acknowledged)

    def stop_callers(self) -> None:
        """No new work; waits until every submission has its answer."""
        for caller in self._callers:
            caller.is_stopping = True
        self._sdk.stop_callers()
        for future in self._futures:
            future.result(timeout=STOP_S)
        self._sdk.wait_for_callers()

    def catch_up(self, revision: int) -> None:
        """Wait until the watches have told of a revision. Raises TimeoutError."""
        until = time.monotonic() + STOP_S
        watches = {fact.watch for fact in self.ledger.facts if isinstance(fact, f.WatchBegan)}
        while True:
            told = {
                fact.watch
                for fact in list(self.ledger.facts)
                if isinstance(fact, f.Watched) and fact.revision == revision
            }
            if told == watches:
                return
            if time.monotonic() > until:
                raise TimeoutError(f"{watches - told} have not heard of revision {revision}")
            time.sleep(LOOK_AGAIN_S)

    def close(self) -> None:
        """End the watches too. Raises what a caller raised."""
        self._sdk.join()
        self._watching.cancel()
