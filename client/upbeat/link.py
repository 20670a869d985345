"""An agent's life on the I/O thread: its stream, over reconnects, and its attempts.

Performs what the session decides. Assignments are acknowledged and heartbeats
sent here, whatever the handlers do. The stream is opened again with jitter
until the agent leaves or the server refuses it for good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from upbeat.attempt import Attempt
from upbeat.backoff import Backoff
from upbeat.channel import CHANNELS, Target, metadata_of
from upbeat.connection import is_worth_reopening
from upbeat.duplex import END, Duplex, End
from upbeat.effects import AgentDrained, Effect, FrameRefused, Opened, ServerDrains, Settled, Start, Stop
from upbeat.errors import AgentFenced
from upbeat.session import Phase, Session
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import agent_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upbeat.errors import Refused
    from upbeat.io_thread import Crossing, IoThread
    from upbeat.work import Work
    from upbeat.worker_threads import WorkerThreads

log = logging.getLogger("upbeat.agent")

GOODBYE_S = 2.0
"""How long the server may take to end the stream after goodbye."""
MOVING_S = 2.0
"""How long results may take to be acknowledged by a server that is leaving."""


_OUTCOMES: dict[int, str] = {number: name for name, number in wire.ResultAck.Outcome.items()}


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Link:
    """Connects a session to a server and its effects to handlers."""

    def __init__(
        self,
        session: Session,
        works: Mapping[str, Work],
        target: Target,
        token: str | None,
        io: IoThread,
    ) -> None:
        self._session = session
        self._works = works
        self._target = target
        self._metadata = metadata_of(token)
        self._io = io
        self._attempts: dict[str, Attempt] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._duplex: Duplex | None = None
        self._backoff = Backoff()
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._move_until: float | None = None
        self._leaving: asyncio.Task[None] | None = None
        self.is_open = False
        self.opened = asyncio.Event()
        self._crossing: Crossing | None = None
        self._threads: WorkerThreads | None = None

    async def run(self, crossing: Crossing, threads: WorkerThreads, drain_s: float) -> None:
        """Until the agent has left in good order; raises why the server will not have it.

        Ends with every handler told to stop. Cancelling it is leaving without a word.
        """
        self._crossing, self._threads = crossing, threads
        self._drain_s = drain_s
        shared = CHANNELS.acquire(self._target)
        try:
            stub: Any = agent_service_pb2_grpc.AgentServiceStub(shared.channel)
            await self._stay_connected(stub)
        finally:
            if self._leaving is not None:
                self._leaving.cancel()
            self._stop_all("LEASE_LOST" if self._session.phase is Phase.FENCED else "AGENT_LEFT")
            for timer in self._timers.values():
                timer.cancel()
            await CHANNELS.release(shared)

    async def _stay_connected(self, stub: Any) -> None:
        while True:
            error = await self._serve(stub)
            if self._session.phase is Phase.LEFT or self._hurry.is_set():
                return
            self._session.disconnected()
            if isinstance(error, AgentFenced):
                self._session.fenced()
                raise error
            if not is_worth_reopening(error):
                raise error
            delay_s = self._backoff.next_s(error.retry_after or 0.0)
            log.info("stream ended (%s); connecting again in %.1f s", error, delay_s)
            if await self._slept(delay_s):
                return

    async def _slept(self, delay_s: float) -> bool:
        """Wait before the next stream; True if there is to be none."""
        try:
            async with asyncio.timeout(delay_s):
                await self._hurry.wait()
        except TimeoutError:
            return False
        return True

    async def _serve(self, stub: Any) -> Refused:
        """One stream, from hello to its end; answers how it ended."""
        self._move_until = None
        self._session.connected(_now_ms())
        self._duplex = Duplex(stub.Connect(metadata=self._metadata), self)
        try:
            return await self._duplex.run()
        finally:
            self._duplex = None
            self.is_open = False
            for attempt in self._attempts.values():
                attempt.flow(is_flowing=False)

    # The dialogue.

    def next_frame(self) -> wire.ConnectRequest | End | None:
        """What the session has to say."""
        if self._session.phase is Phase.LEFT:
            return END
        frame = self._session.next_frame(_now_ms())
        if frame is None:
            return END if self._is_moved() else None
        for lease_id, pieces in Counter(item.lease_id for item in frame.progress if item.sequence).items():
            attempt = self._attempts.get(lease_id)
            if attempt is not None:
                attempt.voice.sent(pieces)
        return frame

    def due_s(self) -> float | None:
        """Until the next heartbeat, or until we give up waiting for a leaving server."""
        due_ms = self._session.due_ms()
        due_s = None if due_ms is None else max(0.0, (due_ms - _now_ms()) / 1000)
        if self._move_until is not None:
            left_s = max(0.0, self._move_until - time.monotonic())
            due_s = left_s if due_s is None else min(due_s, left_s)
        return due_s

    def _is_moved(self) -> bool:
        """Whether a leaving server has all it can get from us now."""
        if self._move_until is None:
            return False
        return not self._session.has_results or time.monotonic() >= self._move_until

    def received(self, frame: wire.ConnectResponse) -> None:
        """Perform what the session makes of it."""
        for effect in self._session.received(frame):
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Start():
                self._start(effect.assignment)
            case Settled():
                self._settled(effect)
            case Stop():
                self._stop(effect.lease_id, effect.reason)
            case Opened():
                self._open(effect)
            case ServerDrains():
                log.info("the server is leaving: going elsewhere, keeping the work")
                self._move_until = time.monotonic() + MOVING_S
            case AgentDrained():
                log.info("drained by an operator: finishing what runs")
                self.leave("drained")
            case FrameRefused():
                log.error("the server refused part of a frame: %s: %s", effect.reason, effect.message)

    def _open(self, effect: Opened) -> None:
        log.info("connected as %s%s", self._session.identity.agent_id, " again" if effect.is_resumed else "")
        self._backoff.reset()
        self.is_open = True
        self.opened.set()
        for attempt in self._attempts.values():
            attempt.flow(is_flowing=True)

    def _settled(self, effect: Settled) -> None:
        if effect.outcome != wire.ResultAck.OUTCOME_ACCEPTED:
            outcome = _OUTCOMES.get(effect.outcome, str(effect.outcome))
            log.info("result of lease %s: %s %s", effect.lease_id, outcome, effect.error.message)
        self._changed.set()

    # Attempts.

    def _start(self, assignment: wire.Assignment) -> None:
        assert self._crossing is not None  # noqa: S101 - set by run
        assert self._threads is not None  # noqa: S101 - set by run
        attempt = Attempt(assignment, self._works[assignment.type], self, self._ended)
        self._attempts[attempt.lease_id] = attempt
        if assignment.HasField("time_remaining"):
            remaining_s = max(0.0, assignment.time_remaining.ToNanoseconds() / 1e9)
            self._timers[attempt.lease_id] = asyncio.get_running_loop().call_later(
                remaining_s, self._stop, attempt.lease_id, "ATTEMPT_TIMEOUT"
            )
        attempt.start(self._crossing, self._threads)

    def _stop(self, lease_id: str, reason: str) -> None:
        attempt = self._attempts.get(lease_id)
        if attempt is not None:
            attempt.stop(reason)

    def _stop_all(self, reason: str) -> None:
        for attempt in self._attempts.values():
            attempt.stop(reason)

    def _ended(self, result: wire.AttemptResult) -> None:
        """On the handler's thread."""
        self._io.crossing.post(self._finish, result)

    def _finish(self, result: wire.AttemptResult) -> None:
        timer = self._timers.pop(result.lease_id, None)
        if timer is not None:
            timer.cancel()
        self._attempts.pop(result.lease_id, None)
        self._session.finish(result)
        self._changed.set()
        self._wake()

    def _wake(self) -> None:
        if self._duplex is not None:
            self._duplex.wake()

    # What attempts say: from any thread, but for `said`.

    def said(self, lease_id: str, fraction: float, message: str) -> None:
        """How far an attempt is; on the I/O thread."""
        self._session.say(lease_id, fraction, message)
        self._wake()

    def emitted(self, lease_id: str, chunk: bytes) -> None:
        """A piece of output."""
        self._io.crossing.post(self._emit, lease_id, chunk)

    def soon(self, call: Callable[[], None]) -> None:
        """Run it on the I/O thread."""
        self._io.crossing.post(call)

    def _emit(self, lease_id: str, chunk: bytes) -> None:
        dropped = self._session.emit(lease_id, chunk)
        attempt = self._attempts.get(lease_id)
        if dropped and attempt is not None:
            attempt.voice.sent(dropped)
        self._wake()

    # Leaving.

    def leave(self, reason: str) -> None:
        """Take nothing new, finish what runs within the time for it, say goodbye."""
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self._leave(reason))

    def leave_now(self) -> None:
        """Do not wait for what runs: it is given back."""
        self._drain_s = 0.0
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        self.leave("stopped")

    def change_capability(self, capability: str, *, is_removed: bool) -> None:
        """Offer a capability, or no longer."""
        self._session.change_capability(capability, is_removed=is_removed)
        self._wake()

    async def _leave(self, reason: str) -> None:
        self._session.drain()
        self._wake()
        try:
            async with asyncio.timeout(self._drain_s):
                while not self._session.is_idle:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("%d attempts do not end in time: giving them back", len(self._session.running))
        self._session.leave(reason)
        self._stop_all("AGENT_LEFT")
        self._wake()
        if self.is_open:
            await asyncio.sleep(GOODBYE_S)
        # No stream, or the server does not end it: there is nobody to say goodbye to.
        self._hurry.set()
        if self._duplex is not None:
            self._duplex.hang_up()
