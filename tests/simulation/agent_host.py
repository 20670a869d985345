"""An agent's process: the SDK's session and link over a stream, handlers that take their virtual time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.answers import answer
from tests.simulation.calls import Stub
from tests.simulation.mail_room import MailRoom
from tests.simulation.virtual_loop import Host
from upbeat.channel import Target
from upbeat.effects import Settled
from upbeat.errors import Refused
from upbeat.link import Link
from upbeat.session import Identity, Session
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import payload_pb2

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Callable
    from random import Random

    from tests.simulation.claims import Claims
    from tests.simulation.network import Network
    from tests.simulation.virtual_loop import VirtualLoop


@dataclass
class Manner:
    """How an agent goes about its work."""

    agent_id: str
    capabilities: tuple[str, ...]
    labels: dict[str, str]
    slots: int
    speed_ms: float
    failure_share: float = 0.0
    hang_share: float = 0.0


class Handlers:
    """The attempts that run on an agent: what the SDK calls its floor."""

    def __init__(
        self,
        session: Session,
        manner: Manner,
        host: Host,
        loop: VirtualLoop,
        claims: Claims,
        rng: Random,
    ) -> None:
        self._session = session
        self._manner = manner
        self._host = host
        self._claims = claims
        self._rng = rng
        self._loop = loop
        self._timers: dict[str, TimerHandle | None] = {}
        self.post = MailRoom(session, rng)
        self.outputs: dict[str, bytes] = {}
        self.may_hang = True
        self.when_said: Callable[[], None] = lambda: None
        self.when_ended: Callable[[], None] = lambda: None
        self.overrun = 0

    def start(self, assignment: wire.Assignment) -> None:
        """Begin an attempt; how long it takes and how it ends is drawn now."""
        lease = assignment.lease_id
        self._claims.starts.append((assignment.task_id, lease, self._host.name))
        luck = self._rng.random()
        manner = self._manner
        hangs = self.may_hang and luck < manner.hang_share
        fails = luck > 1 - manner.failure_share
        duration_s = manner.speed_ms * (0.5 + self._rng.random()) / 1_000
        timer = None
        if not hangs:
            timer = self._loop.call_later(duration_s, self._end, assignment, fails)
        self._timers[lease] = timer
        if assignment.parent_task_id:
            self.post.when_said = self.when_said
            self.post.begin(assignment)
        self.overrun = max(self.overrun, len(self._timers) - manner.slots)
        if self._rng.random() < 0.3:
            self._session.say(lease, 0.5, "half")
            self._session.emit(lease, b"piece")
            self.when_said()

    def _end(self, assignment: wire.Assignment, fails: bool) -> None:
        lease = assignment.lease_id
        if lease not in self._timers:
            return
        del self._timers[lease]
        result = wire.AttemptResult(lease_id=lease)
        if fails:
            reason = "FATAL" if self._rng.random() < 0.3 else "BROKEN"
            result.error.CopyFrom(payload_pb2.Error(reason=reason, message="simulated"))
        elif assignment.parent_task_id:
            result = answer(assignment, self._manner.agent_id)
        else:
            result.output.data = b"%b by %b" % (assignment.input.data, lease.encode())
        self.post.end(lease)
        if result.HasField("output"):
            self.outputs[lease] = result.output.data
        self._session.finish(result)
        self.when_ended()

    def stop(self, lease: str, _reason: str, _grace_s: float | None = None) -> None:
        """End an attempt soon, as a handler does that hears of it."""
        if lease in self._timers:
            timer = self._timers[lease]
            if timer is not None:
                timer.cancel()
            self._timers[lease] = self._loop.call_later(
                self._rng.random() * 0.2, self._stopped, lease, context=self._host.context.copy()
            )

    def _stopped(self, lease: str) -> None:
        if self._timers.pop(lease, None) is None:
            return
        self.post.end(lease)
        error = payload_pb2.Error(reason="CANCELLED", message="stopped")
        self._session.finish(wire.AttemptResult(lease_id=lease, error=error))
        self.when_ended()

    def stop_all(self, reason: str) -> None:
        """End all of them."""
        for lease in list(self._timers):
            self.stop(lease, reason)

    def close(self, _reason: str) -> None:
        """The agent leaves."""
        for timer in self._timers.values():
            if timer is not None:
                timer.cancel()
        self._timers.clear()

    def recover(self) -> None:
        """What hangs is ended, and nothing hangs any more."""
        self.may_hang = False
        for lease, timer in list(self._timers.items()):
            if timer is None:
                self.stop(lease, "recovered")

    def flow(self, *, is_flowing: bool) -> None:
        """Whether there is a stream; these handlers do not wait for one."""

    def sent(self, frame: wire.ConnectRequest) -> None:
        """A frame leaves."""


class ReportingLink(Link):
    """The SDK's link, which also tells what results were answered with."""

    tell: Callable[[Settled], None]

    def _settled(self, effect: Settled) -> None:
        self.tell(effect)
        super()._settled(effect)


class AgentHost:
    """One life of an agent's process."""

    def __init__(self, number: int, manner: Manner, network: Network, claims: Claims, rng: Random) -> None:
        self.host = Host(f"{manner.agent_id}#{number}")
        self.manner = manner
        self.ended = ""  # Why it will not come back by itself.
        identity = Identity(
            manner.agent_id, manner.agent_id, "default", manner.labels, manner.slots, "simulated/1"
        )
        self.session = Session(identity, list(manner.capabilities))
        self.handlers = Handlers(self.session, manner, self.host, network.loop, claims, rng)
        floor: object = self.handlers
        self.link = ReportingLink(self.session, floor, Target("simulated:1"), None, 5.0)  # type: ignore[arg-type]
        self.link.tell = self._settled
        self._stub = Stub(network, self.host, "AgentService")
        self._claims = claims

    async def live(self) -> None:
        """Until it leaves or is refused for good."""
        try:
            await self.link._stay_connected(self._stub)
            self.ended = "left"
        except Refused as error:
            self.ended = error.reason or error.code
        self.handlers.close(self.ended)

    def _settled(self, effect: Settled) -> None:
        output = self.handlers.outputs.get(effect.lease_id)
        self._claims.answers.append((effect.lease_id, effect.outcome, output))
