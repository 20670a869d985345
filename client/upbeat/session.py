"""The agent's side of AgentService.Connect, without I/O and without a clock.

Frames and time go in, frames and effects come out; the driver (`link.py`) owns
the stream, the thread and the clock. What must not break:

- hello is the first frame of a stream and nothing else goes before welcome;
- a lease runs once: a repeated assignment is acknowledged again, not started;
- a result is kept, and sent on every new stream, until it is acknowledged;
- what an attempt said goes out in order and before its result;
- after `fenced` nothing is sent, for good.

Times are milliseconds of any clock that does not go back.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from upbeat.effects import AgentDrained, Effect, FrameRefused, Opened, ServerDrains, Settled, Start, Stop
from upbeat.mail import Mail
from upbeat.results import Results
from upbeat.speech import Speech
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import payload_pb2

FRAME_ITEMS_MAX = 256
FRAME_BYTES_MAX = 2 << 20  # And never more than the welcome allows.
HELD_MAX = 20_000  # The contract's bound on held_leases.
HEARTBEAT_MS_UNTOLD = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the agent is; the same for all its sessions."""

    agent_id: str
    name: str
    namespace: str
    labels: dict[str, str]
    slots: int
    sdk_version: str

    def hello(self) -> wire.Hello:
        """As much of hello as does not change."""
        return wire.Hello(
            agent_id=self.agent_id,
            name=self.name,
            namespace=self.namespace,
            labels=self.labels,
            slots=self.slots,
            sdk_version=self.sdk_version,
        )


class Phase(enum.Enum):
    """Where the session is."""

    OFFLINE = "no stream"
    GREETING = "hello is due or sent, welcome has not come"
    OPEN = "welcomed"
    LEFT = "goodbye is sent"
    FENCED = "a newer session took over"


@dataclass(slots=True)
class Running:
    """A lease whose handler runs here."""

    is_dropped: bool = False  # The server has taken it away: its end is not reported.
    is_stopping: bool = False


class Session:
    """One agent's leases and results, over any number of streams."""

    def __init__(self, identity: Identity, capabilities: list[str]) -> None:
        self.identity = identity
        self.phase = Phase.OFFLINE
        self.is_draining = False
        self._capabilities = dict.fromkeys(capabilities)
        self._session_id = ""
        self._heartbeat_ms = HEARTBEAT_MS_UNTOLD
        self._frame_bytes_max = FRAME_BYTES_MAX
        self.attempts: dict[str, Running] = {}  # Until their handlers end.
        self._speech = Speech()
        self.results = Results()
        self.mail = Mail()
        # What waits to be sent on this stream.
        self._is_hello_due = False
        self._is_drain_due = False
        self._acks: list[wire.AttemptAck] = []
        self._changes: list[wire.CapabilityChange] = []
        self._slots_told = identity.slots
        self._goodbye: str | None = None
        self._last_sent_ms = 0

    # What the driver reads.

    @property
    def held(self) -> list[str]:
        """Leases whose work is here: they run, or their result is not acknowledged."""
        return [
            *(lease for lease, attempt in self.attempts.items() if not attempt.is_dropped),
            *self.results,
        ]

    @property
    def is_idle(self) -> bool:
        """Nothing runs and every result has been acknowledged."""
        return not self.attempts and not self.results

    def due_ms(self) -> int | None:
        """When the next heartbeat is due; None where none is."""
        return self._last_sent_ms + self._heartbeat_ms if self.phase is Phase.OPEN else None

    # What the driver tells.

    def connected(self, now_ms: int) -> None:
        """A new stream is there; `next_frame` begins with hello."""
        if self.phase is Phase.FENCED:
            return
        self.phase = Phase.GREETING
        self._is_hello_due = True
        self._is_drain_due = self.is_draining
        self._acks.clear()  # They belonged to the old stream: hello says what is held.
        self._changes.clear()  # Hello says what is offered.
        self.results.resend()
        self.mail.connected()
        self._slots_told = self.identity.slots
        self._last_sent_ms = now_ms

    def disconnected(self) -> None:
        """The stream is gone."""
        if self.phase is not Phase.FENCED:
            self.phase = Phase.OFFLINE

    def fenced(self) -> None:
        """A newer session took over: nothing is ours any more."""
        self.phase = Phase.FENCED
        self.results.clear()
        for lease_id, attempt in self.attempts.items():
            attempt.is_dropped = True
            self._speech.forget(lease_id)

    def drain(self) -> None:
        """Take nothing new; what runs goes on."""
        if not self.is_draining:
            self.is_draining = True
            self._is_drain_due = True

    def leave(self, reason: str) -> None:
        """Say goodbye, after the results that are there; what still runs is given back."""
        self._goodbye = reason
        for lease_id, attempt in self.attempts.items():
            attempt.is_dropped = True
            self._speech.forget(lease_id)

    def change_capability(self, capability: str, *, is_removed: bool) -> None:
        """Offer a capability, or no longer."""
        if is_removed == (capability not in self._capabilities):
            return
        if is_removed:
            del self._capabilities[capability]
        else:
            self._capabilities[capability] = None
        self._changes.append(wire.CapabilityChange(capability=capability, removed=is_removed))

    def say(self, lease_id: str, fraction: float, message: str) -> None:
        """How an attempt gets on; only the latest is sent."""
        attempt = self.attempts.get(lease_id)
        if attempt is not None and not attempt.is_dropped:
            self._speech.say(lease_id, fraction, message)

    def emit(self, lease_id: str, chunk: bytes) -> int:
        """A piece of output; answers how many pieces, this or older ones, will not be sent."""
        attempt = self.attempts.get(lease_id)
        if attempt is None or attempt.is_dropped:
            return 1
        return self._speech.emit(lease_id, chunk)

    def finish(self, result: wire.AttemptResult) -> None:
        """The handler has ended. A lease that was taken away only gives its slot back."""
        attempt = self.attempts.pop(result.lease_id, None)
        if attempt is None:
            return
        if attempt.is_dropped:
            self.results.remember(result.lease_id)
        else:
            self.results.keep(result)

    # What the server tells.

    def received(self, frame: wire.ConnectResponse) -> list[Effect]:
        """A frame has arrived; its fields are handled in the order of their numbers."""
        if self.phase not in (Phase.GREETING, Phase.OPEN):
            return []
        effects: list[Effect] = []
        if frame.HasField("welcome"):
            effects += self._welcome(frame.welcome)
        for assignment in frame.assignments:
            effects += self._assign(assignment)
        for cancel in frame.cancels:
            effects += self._cancel(cancel)
        for ack in frame.result_acks:
            effects += self._settle(ack)
        effects += self.mail.received(frame)
        if frame.HasField("drain"):
            effects.append(AgentDrained() if frame.drain.reason == "AGENT_DRAINED" else ServerDrains())
        if frame.HasField("error"):
            fields = ", ".join(f"{each.field}: {each.description}" for each in frame.error.violations)
            effects.append(FrameRefused(frame.error.reason, f"{frame.error.message} {fields}".strip()))
        return effects

    def _welcome(self, welcome: wire.Welcome) -> list[Effect]:
        self.phase = Phase.OPEN
        self._session_id = welcome.session_id
        self._heartbeat_ms = welcome.heartbeat_interval.ToMilliseconds() or HEARTBEAT_MS_UNTOLD
        self._frame_bytes_max = min(FRAME_BYTES_MAX, welcome.frame_bytes_max or FRAME_BYTES_MAX)
        self.results.output_bytes_max = welcome.output_bytes_max
        effects: list[Effect] = [Opened(welcome.session_id, welcome.resumed)]
        for lease_id in welcome.dropped_leases:
            self.results.forget(lease_id)
            self._speech.forget(lease_id)
            attempt = self.attempts.get(lease_id)
            if attempt is not None and not attempt.is_dropped:
                attempt.is_dropped = True
                self._speech.forget(lease_id)
                effects.append(Stop(lease_id, "LEASE_LOST"))
        return effects

    def _assign(self, assignment: wire.Assignment) -> list[Effect]:
        lease_id = assignment.lease_id
        attempt = self.attempts.get(lease_id)
        if (attempt is not None and not attempt.is_dropped) or lease_id in self.results:
            self._acks.append(wire.AttemptAck(lease_id=lease_id, accepted=True))
            return []
        refusal = ""
        if attempt is not None or self.results.was_reported(lease_id):
            refusal = "ALREADY_REPORTED"
        elif assignment.type not in self._capabilities:
            refusal = "NO_HANDLER"
        elif self.is_draining or self._goodbye is not None:
            refusal = "DRAINING"
        elif len(self.attempts) >= self.identity.slots:
            refusal = "SLOTS_TAKEN"  # By handlers that go on although their lease is lost.
        self._acks.append(wire.AttemptAck(lease_id=lease_id, accepted=not refusal, reason=refusal))
        if refusal:
            return []
        self.attempts[lease_id] = Running()
        return [Start(assignment)]

    def _cancel(self, cancel: wire.AttemptCancel) -> list[Effect]:
        lease_id, reason = cancel.lease_id, cancel.reason or "CANCELLED"
        attempt = self.attempts.get(lease_id)
        if attempt is None:
            if lease_id not in self.results:
                # The server waits for an answer to free the slot, and we have nothing of it.
                error = payload_pb2.Error(reason=reason, message="not running here")
                self.results.keep(wire.AttemptResult(lease_id=lease_id, error=error))
            return []
        if attempt.is_stopping or attempt.is_dropped:
            return []
        attempt.is_stopping = True
        grace_s = cancel.grace.ToNanoseconds() / 1e9 if cancel.HasField("grace") else None
        return [Stop(lease_id, reason, grace_s)]

    def _settle(self, ack: wire.ResultAck) -> list[Effect]:
        if not self.results.forget(ack.lease_id):
            return []
        self._speech.forget(ack.lease_id)
        return [Settled(ack.lease_id, ack.outcome, ack.error)]

    # What goes out.

    def next_frame(self, now_ms: int) -> wire.ConnectRequest | None:
        """The next frame to send; None if there is none now. Once asked for, it counts as sent."""
        frame = wire.ConnectRequest()
        if self.phase is Phase.GREETING and self._is_hello_due:
            self._is_hello_due = False
            frame.hello.CopyFrom(self.identity.hello())
            frame.hello.capabilities.extend(self._capabilities)
            frame.hello.session_id = self._session_id
            frame.hello.held_leases.extend(self.held[:HELD_MAX])
        elif self.phase is Phase.OPEN:
            self._fill(frame)
            if now_ms - self._last_sent_ms >= self._heartbeat_ms and not frame.ByteSize():
                frame.heartbeat.SetInParent()
                frame.heartbeat.load = len(self.attempts) / self.identity.slots
        if not frame.ByteSize():
            return None
        self._last_sent_ms = now_ms
        return frame

    def _fill(self, frame: wire.ConnectRequest) -> None:
        slots = self.identity.slots - sum(attempt.is_dropped for attempt in self.attempts.values())
        if slots != self._slots_told and self._goodbye is None:
            frame.heartbeat.load = len(self.attempts) / self.identity.slots
            frame.heartbeat.slots = self._slots_told = slots
        frame.attempt_acks.extend(self._acks[:FRAME_ITEMS_MAX])
        del self._acks[:FRAME_ITEMS_MAX]
        size = self._speech.move_to(frame, FRAME_ITEMS_MAX, self._frame_bytes_max // 2)
        # Before results: what an attempt said last needs the lease that its result ends.
        size = self.mail.move_to(frame, size, FRAME_ITEMS_MAX, self._frame_bytes_max // 2)
        self.results.move_to(frame, self._speech, size, FRAME_ITEMS_MAX, self._frame_bytes_max)
        frame.capability_changes.extend(self._changes)
        self._changes.clear()
        if self._is_drain_due:
            self._is_drain_due = False
            frame.drain.SetInParent()
        if self._goodbye is not None and not self.results.has_unsent and not self._acks:
            frame.goodbye.reason = self._goodbye
            self.phase = Phase.LEFT
