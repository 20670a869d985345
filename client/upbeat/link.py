"""An agent's life on the I/O thread: its stream, over reconnects, and its attempts.

Performs what the session decides. Assignments are acknowledged and heartbeats
sent here, whatever the handlers do. The stream is opened again with jitter
until the agent leaves or the server refuses it for good.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from upbeat.backoff import Backoff
from upbeat.channel import CHANNELS, Target, metadata_of
from upbeat.connection import is_worth_reopening
from upbeat.duplex import END, Duplex, End
from upbeat.effects import (
    AgentDrained,
    Delivered,
    Effect,
    FrameRefused,
    Opened,
    Published,
    ServerDrains,
    Settled,
    Start,
    Stop,
    Unsubscribed,
)
from upbeat.errors import AgentFenced
from upbeat.session import Phase, Session
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import agent_service_pb2_grpc

if TYPE_CHECKING:
    from upbeat.errors import Refused
    from upbeat.floor import Floor

log = logging.getLogger("upbeat.agent")

GOODBYE_S = 2.0
"""How long the server may take to end the stream after goodbye."""
WELCOME_S = 30.0
"""How long the server may take to answer hello."""
MOVING_S = 2.0
"""How long results may take to be acknowledged by a server that is leaving."""


_OUTCOMES: dict[int, str] = {number: name for name, number in wire.ResultAck.Outcome.items()}


def _now_s() -> float:
    """The clock of the loop: whoever drives the loop drives the agent's time."""
    return asyncio.get_running_loop().time()


def _now_ms() -> int:
    return int(_now_s() * 1_000)


class Link:
    """Connects a session to a server and its effects to handlers."""

    def __init__(
        self, session: Session, floor: Floor, target: Target, token: str | None, drain_s: float
    ) -> None:
        self.opened = asyncio.Event()
        self._session = session
        self._floor = floor
        self._target = target
        self._metadata = metadata_of(token)
        self._drain_s = drain_s
        self._duplex: Duplex | None = None
        self._backoff = Backoff()
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._move_until: float | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._is_outage_told = False
        floor.when_said = self._wake
        floor.when_ended = self._ended

    async def run(self) -> None:
        """Until the agent has left in good order; raises why the server will not have it.

        Ends with every handler told to stop. Cancelling it is leaving without a word.
        """
        shared = CHANNELS.acquire(self._target)
        try:
            stub: Any = agent_service_pb2_grpc.AgentServiceStub(shared.channel)
            await self._stay_connected(stub)
        finally:
            if self._leaving is not None:
                self._leaving.cancel()
            self._floor.close("LEASE_LOST" if self._session.phase is Phase.FENCED else "AGENT_LEFT")
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
            # Without logging set up, Python still prints a warning: a wrong address is not met by silence.
            level = logging.INFO if self._is_outage_told else logging.WARNING
            log.log(level, "stream ended (%s); connecting again in %.1f s", error, delay_s)
            self._is_outage_told = True
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
        self._duplex = duplex = Duplex(stub.Connect(metadata=self._metadata), self)
        greeting = asyncio.get_running_loop().call_later(WELCOME_S, self._expect_welcome, duplex)
        try:
            return await duplex.run()
        finally:
            greeting.cancel()
            self._duplex = None
            self._floor.flow(is_flowing=False)

    def _expect_welcome(self, duplex: Duplex) -> None:
        """A hello that was lost on the way is never answered, however well the connection is."""
        if self._session.phase is Phase.GREETING:
            duplex.hang_up()

    # The dialogue.

    def next_frame(self) -> wire.ConnectRequest | End | None:
        """What the session has to say."""
        if self._session.phase is Phase.LEFT:
            return END
        frame = self._session.next_frame(_now_ms())
        if frame is None:
            return self._parting() if self._is_moved() else None
        self._floor.sent(frame)
        return frame

    def _parting(self) -> End:
        """Half-close, and do not wait for ever for the server to do its half."""
        if self._duplex is not None:
            asyncio.get_running_loop().call_later(GOODBYE_S, self._duplex.hang_up)
        return END

    def due_s(self) -> float | None:
        """Until the next heartbeat, or until we give up waiting for a leaving server."""
        due_ms = self._session.due_ms()
        due_s = None if due_ms is None else max(0.0, (due_ms - _now_ms()) / 1000)
        if self._move_until is not None:
            left_s = max(0.0, self._move_until - _now_s())
            due_s = left_s if due_s is None else min(due_s, left_s)
        return due_s

    def _is_moved(self) -> bool:
        """Whether a leaving server has all it can get from us now."""
        if self._move_until is None:
            return False
        return not self._session.results or _now_s() >= self._move_until

    def received(self, frame: wire.ConnectResponse) -> None:
        """Perform what the session makes of it."""
        for effect in self._session.received(frame):
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Start():
                self._floor.start(effect.assignment)
            case Settled():
                self._settled(effect)
            case Stop():
                self._floor.stop(effect.lease_id, effect.reason, effect.grace_s)
            case Delivered():
                self._floor.post.delivered(effect)
            case Published():
                self._floor.post.published(effect)
            case Unsubscribed():
                self._floor.post.unsubscribed(effect)
            case Opened():
                self._open(effect)
            case ServerDrains():
                log.info("the server is leaving: going elsewhere, keeping the work")
                self._move_until = _now_s() + MOVING_S
            case AgentDrained():
                log.info("drained by an operator: finishing what runs")
                self.leave("drained")
            case FrameRefused():
                log.error("the server refused part of a frame: %s: %s", effect.reason, effect.message)

    def _open(self, effect: Opened) -> None:
        log.info("connected as %s%s", self._session.identity.agent_id, " again" if effect.is_resumed else "")
        self._backoff.reset()
        self._is_outage_told = False
        self.opened.set()
        self._floor.flow(is_flowing=True)

    def _settled(self, effect: Settled) -> None:
        if effect.outcome != wire.ResultAck.OUTCOME_ACCEPTED:
            outcome = _OUTCOMES.get(effect.outcome, str(effect.outcome))
            log.info("result of lease %s: %s %s", effect.lease_id, outcome, effect.error.message)
        self._changed.set()

    def _wake(self) -> None:
        if self._duplex is not None:
            self._duplex.wake()

    def _ended(self) -> None:
        """An attempt has ended."""
        self._changed.set()
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
            if running := len(self._session.attempts):
                log.warning("%d attempts do not end in time: giving them back", running)
        self._session.leave(reason)
        self._floor.stop_all("AGENT_LEFT")
        self._wake()
        self._hurry.set()  # No further stream is opened to say it.
        if self._duplex is not None:
            await asyncio.sleep(GOODBYE_S)
        if self._duplex is not None:
            self._duplex.hang_up()
