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
from itertools import islice

from upbeat.effects import AgentDrained, Effect, FrameRefused, Opened, ServerDrains, Settled, Start, Stop
from upbeat.speech import Speech
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import payload_pb2

FRAME_ITEMS_MAX = 256
FRAME_BYTES_MAX = 2 << 20  # And never more than the welcome allows.
HELD_MAX = 20_000  # The contract's bound on held_leases.
REPORTED_MAX = 4_096  # Leases remembered after their end.
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


class Phase(enum.Enum):
    """Where the session is."""

    OFFLINE = "no stream"
    GREETING = "hello is due or sent, welcome has not come"
    OPEN = "welcomed"
    LEFT = "goodbye is sent"
    FENCED = "a newer session took over"


@dataclass(slots=True)
class _Attempt:
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
        self._output_bytes_max = 0  # 0: not told.
        self._attempts: dict[str, _Attempt] = {}
        self._speech = Speech()
        self._results: dict[str, wire.AttemptResult] = {}  # Kept until they are acknowledged.
        self._reported: dict[str, None] = {}  # Leases that ended here, the oldest first.
        # What waits to be sent on this stream.
        self._is_hello_due = False
        self._is_drain_due = False
        self._acks: list[wire.AttemptAck] = []
        self._changes: list[wire.CapabilityChange] = []
        self._unsent: dict[str, None] = {}  # Of the results, in order.
        self._slots_told = identity.slots
        self._goodbye: str | None = None
        self._last_sent_ms = 0

    # What the driver reads.

    @property
    def running(self) -> list[str]:
        """Leases whose handler has not ended, those that were taken away included."""
        return list(self._attempts)

    @property
    def held(self) -> list[str]:
        """Leases whose work is here: they run, or their result is not acknowledged."""
        return [
            *(lease for lease, attempt in self._attempts.items() if not attempt.is_dropped),
            *self._results,
        ]

    @property
    def is_idle(self) -> bool:
        """Nothing runs and every result has been acknowledged."""
        return not self._attempts and not self._results

    @property
    def has_results(self) -> bool:
        """Whether a result has not been acknowledged."""
        return bool(self._results)

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
        self._unsent = dict.fromkeys(self._results)
        self._slots_told = self.identity.slots
        self._last_sent_ms = now_ms

    def disconnected(self) -> None:
        """The stream is gone."""
        if self.phase is not Phase.FENCED:
            self.phase = Phase.OFFLINE

    def fenced(self) -> None:
        """A newer session took over: nothing is ours any more."""
        self.phase = Phase.FENCED
        self._results.clear()
        self._unsent.clear()
        for lease_id, attempt in self._attempts.items():
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
        for lease_id, attempt in self._attempts.items():
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
        if self._is_heard(lease_id):
            self._speech.say(lease_id, fraction, message)

    def emit(self, lease_id: str, chunk: bytes) -> int:
        """A piece of output; answers how many pieces, this or older ones, will not be sent."""
        return self._speech.emit(lease_id, chunk) if self._is_heard(lease_id) else 1

    def _is_heard(self, lease_id: str) -> bool:
        attempt = self._attempts.get(lease_id)
        return attempt is not None and not attempt.is_dropped

    def finish(self, result: wire.AttemptResult) -> None:
        """The handler has ended. A lease that was taken away only gives its slot back."""
        attempt = self._attempts.pop(result.lease_id, None)
        if attempt is not None and not attempt.is_dropped:
            self._keep(result)

    def _keep(self, result: wire.AttemptResult) -> None:
        self._results[result.lease_id] = result
        self._unsent[result.lease_id] = None

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
            effects += self._cancel(cancel.lease_id, cancel.reason)
        for ack in frame.result_acks:
            effects += self._settle(ack)
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
        self._output_bytes_max = welcome.output_bytes_max
        effects: list[Effect] = [Opened(welcome.session_id, welcome.resumed)]
        for lease_id in welcome.dropped_leases:
            self._forget_result(lease_id)
            attempt = self._attempts.get(lease_id)
            if attempt is not None and not attempt.is_dropped:
                attempt.is_dropped = True
                self._speech.forget(lease_id)
                effects.append(Stop(lease_id, "LEASE_LOST"))
        return effects

    def _assign(self, assignment: wire.Assignment) -> list[Effect]:
        lease_id = assignment.lease_id
        attempt = self._attempts.get(lease_id)
        if (attempt is not None and not attempt.is_dropped) or lease_id in self._results:
            self._answer(lease_id)
            return []
        refusal = ""
        if attempt is not None or lease_id in self._reported:
            refusal = "ALREADY_REPORTED"
        elif assignment.type not in self._capabilities:
            refusal = "NO_HANDLER"
        elif self.is_draining or self._goodbye is not None:
            refusal = "DRAINING"
        elif len(self._attempts) >= self.identity.slots:
            refusal = "SLOTS_TAKEN"  # By handlers that go on although their lease is lost.
        self._answer(lease_id, refusal)
        if refusal:
            return []
        self._attempts[lease_id] = _Attempt()
        return [Start(assignment)]

    def _answer(self, lease_id: str, refusal: str = "") -> None:
        self._acks.append(wire.AttemptAck(lease_id=lease_id, accepted=not refusal, reason=refusal))

    def _cancel(self, lease_id: str, reason: str) -> list[Effect]:
        attempt = self._attempts.get(lease_id)
        if attempt is None:
            if lease_id not in self._results:
                # The server waits for an answer to free the slot, and we have nothing of it.
                error = payload_pb2.Error(reason=reason or "CANCELLED", message="not running here")
                self._keep(wire.AttemptResult(lease_id=lease_id, error=error))
            return []
        if attempt.is_stopping or attempt.is_dropped:
            return []
        attempt.is_stopping = True
        return [Stop(lease_id, reason or "CANCELLED")]

    def _settle(self, ack: wire.ResultAck) -> list[Effect]:
        if not self._forget_result(ack.lease_id):
            return []
        return [Settled(ack.lease_id, ack.outcome, ack.error)]

    def _forget_result(self, lease_id: str) -> bool:
        if self._results.pop(lease_id, None) is None:
            return False
        self._unsent.pop(lease_id, None)
        self._speech.forget(lease_id)
        self._reported[lease_id] = None
        for oldest in list(islice(self._reported, max(0, len(self._reported) - REPORTED_MAX))):
            del self._reported[oldest]
        return True

    # What goes out.

    def next_frame(self, now_ms: int) -> wire.ConnectRequest | None:
        """The next frame to send; None if there is none now. Once asked for, it counts as sent."""
        frame = wire.ConnectRequest()
        if self.phase is Phase.GREETING and self._is_hello_due:
            self._is_hello_due = False
            frame.hello.CopyFrom(self._hello())
        elif self.phase is Phase.OPEN:
            self._fill(frame)
            if now_ms - self._last_sent_ms >= self._heartbeat_ms and not frame.ByteSize():
                frame.heartbeat.SetInParent()
                frame.heartbeat.load = len(self._attempts) / self.identity.slots
        if not frame.ByteSize():
            return None
        self._last_sent_ms = now_ms
        return frame

    def _hello(self) -> wire.Hello:
        who = self.identity
        return wire.Hello(
            agent_id=who.agent_id,
            name=who.name,
            namespace=who.namespace,
            capabilities=list(self._capabilities),
            labels=who.labels,
            slots=who.slots,
            session_id=self._session_id,
            held_leases=self.held[:HELD_MAX],
            sdk_version=who.sdk_version,
        )

    def _fill(self, frame: wire.ConnectRequest) -> None:
        slots = self.identity.slots - sum(attempt.is_dropped for attempt in self._attempts.values())
        if slots != self._slots_told and self._goodbye is None:
            frame.heartbeat.load = len(self._attempts) / self.identity.slots
            frame.heartbeat.slots = self._slots_told = slots
        frame.attempt_acks.extend(self._acks[:FRAME_ITEMS_MAX])
        del self._acks[:FRAME_ITEMS_MAX]
        size = self._speech.move_to(frame, FRAME_ITEMS_MAX, self._frame_bytes_max // 2)
        self._add_results(frame, size)
        frame.capability_changes.extend(self._changes)
        self._changes.clear()
        if self._is_drain_due:
            self._is_drain_due = False
            frame.drain.SetInParent()
        if self._goodbye is not None and not self._unsent and not self._acks:
            frame.goodbye.reason = self._goodbye
            self.phase = Phase.LEFT

    def _add_results(self, frame: wire.ConnectRequest, size: int) -> None:
        for lease_id in list(self._unsent):
            if self._speech.has(lease_id):
                continue  # What it said goes first.
            result = self._sendable(lease_id)
            size += result.ByteSize()
            if len(frame.results) >= FRAME_ITEMS_MAX or (frame.results and size > self._frame_bytes_max):
                return
            if frame.progress and size > self._frame_bytes_max:
                return
            frame.results.append(result)
            del self._unsent[lease_id]

    def _sendable(self, lease_id: str) -> wire.AttemptResult:
        """The result, or an error in its place if the server would not take the output."""
        result = self._results[lease_id]
        limit = self._output_bytes_max
        size = len(result.output.data) if result.WhichOneof("result") == "output" else 0
        if limit and size > limit:
            error = payload_pb2.Error(
                reason="OUTPUT_TOO_LARGE",
                message=f"the output has {size:,} bytes; the limit is {limit:,}: return a reference to it",
                non_retryable=True,
            )
            result = wire.AttemptResult(lease_id=lease_id, error=error, usage=result.usage)
            self._results[lease_id] = result
        return result
