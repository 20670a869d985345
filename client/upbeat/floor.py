"""The attempts that run in an agent, as the I/O thread sees them.

Starts and stops handlers, keeps their time limits, and carries what they say
and how they end to the session. Handlers' threads call `said`, `emitted`,
`soon` and the end of an attempt; everything else is called on the I/O thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from upbeat.attempt import Attempt
from upbeat.post import PostOffice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upbeat.io_thread import Crossing
    from upbeat.session import Session
    from upbeat.v1 import agent_service_pb2 as wire
    from upbeat.work import Work
    from upbeat.worker_threads import WorkerThreads


log = logging.getLogger("upbeat.agent")


class Workplace:
    """Where handlers run: the user's loop, and threads."""

    def __init__(self, works: Mapping[str, Work], crossing: Crossing, threads: WorkerThreads) -> None:
        self.works = works
        self.crossing = crossing
        self.threads = threads


class Floor:
    """The running attempts of one session."""

    def __init__(self, session: Session, place: Workplace, io: Crossing) -> None:
        self._session = session
        self._place = place
        self._io = io
        self._attempts: dict[str, Attempt] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.when_said: Callable[[], None] = _nothing
        self.when_ended: Callable[[], None] = _nothing
        self.post = PostOffice(session.mail, io, lambda: self.when_said())  # noqa: PLW0108 - set later

    def start(self, assignment: wire.Assignment) -> None:
        """Run the handler of its type."""
        attempt = Attempt(assignment, self._place.works[assignment.type], self, self._ended, self.post)
        self._attempts[attempt.lease_id] = attempt
        if assignment.HasField("time_remaining"):
            remaining_s = assignment.time_remaining.ToNanoseconds() / 1e9
            self._set_timer(attempt.lease_id, remaining_s, self.stop, attempt.lease_id, "ATTEMPT_TIMEOUT")
        attempt.start(self._place.crossing, self._place.threads)

    def stop(self, lease_id: str, reason: str, grace_s: float | None = None) -> None:
        """Have a handler end, if it has not; one that still runs when its grace is over is told of."""
        attempt = self._attempts.get(lease_id)
        if attempt is None:
            return
        attempt.stop(reason)
        self.post.stop(lease_id)
        if grace_s is not None:
            self._set_timer(lease_id, grace_s, self._outstay, lease_id, grace_s)

    def _outstay(self, lease_id: str, grace_s: float) -> None:
        """Nothing can end a handler that does not end itself; but somebody should know which it is."""
        attempt = self._attempts.get(lease_id)
        if attempt is not None:
            log.warning(
                "task %s: %s was cancelled and still runs after its grace of %g s; its slot stays taken",
                attempt.task_id,
                attempt.handler,
                max(0.0, grace_s),
            )

    def _set_timer(self, lease_id: str, after_s: float, call: Callable[..., None], *of: object) -> None:
        """One for each lease: one that is stopped needs no time limit any more."""
        before = self._timers.pop(lease_id, None)
        if before is not None:
            before.cancel()
        self._timers[lease_id] = asyncio.get_running_loop().call_later(max(0.0, after_s), call, *of)

    def stop_all(self, reason: str) -> None:
        """Have all handlers end."""
        for lease_id in list(self._attempts):
            self.stop(lease_id, reason)

    def close(self, reason: str) -> None:
        """The agent is gone: handlers are told, and nothing is waited for."""
        self.stop_all(reason)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def flow(self, *, is_flowing: bool) -> None:
        """Whether there is a stream that takes what handlers emit."""
        for attempt in self._attempts.values():
            attempt.flow(is_flowing=is_flowing)

    def sent(self, frame: wire.ConnectRequest) -> None:
        """A frame leaves: whoever waits to emit has room again."""
        for lease_id, pieces in Counter(item.lease_id for item in frame.progress if item.sequence).items():
            attempt = self._attempts.get(lease_id)
            if attempt is not None:
                attempt.voice.sent(pieces)

    # From handlers' threads.

    def emitted(self, lease_id: str, chunk: bytes) -> None:
        """A piece of an attempt's output."""
        self._io.post(self._emit, lease_id, chunk)

    def soon(self, call: Callable[[], None]) -> None:
        """Run it on the I/O thread."""
        self._io.post(call)

    def _ended(self, result: wire.AttemptResult) -> None:
        self._io.post(self._finish, result)

    # And on the I/O thread again.

    def said(self, lease_id: str, fraction: float, message: str) -> None:
        """How far an attempt is."""
        self._session.say(lease_id, fraction, message)
        self.when_said()

    def _emit(self, lease_id: str, chunk: bytes) -> None:
        dropped = self._session.emit(lease_id, chunk)
        attempt = self._attempts.get(lease_id)
        if dropped and attempt is not None:
            attempt.voice.sent(dropped)
        self.when_said()

    def _finish(self, result: wire.AttemptResult) -> None:
        timer = self._timers.pop(result.lease_id, None)
        if timer is not None:
            timer.cancel()
        self._attempts.pop(result.lease_id, None)
        self.post.forget(result.lease_id)
        self._session.finish(result)
        self.when_ended()


def _nothing() -> None:
    """Nobody listens yet."""
