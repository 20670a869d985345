"""A dialogue with an agent's session: facts in with ``>>``, what it does out with ``<<``.

    play >> connected << "hello holding nothing"
    play >> welcome() << "opened"
    play >> assign("l1") << "start l1" << "frame: ack l1"
    play >> finish("l1") << "frame: result l1"

After each input all frames the session has are asked for. What it does is read
in order; what nobody read when the play is over is an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

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
from upbeat.session import Identity, Session
from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import payload_pb2

Line: TypeAlias = "Callable[[Play], list[Effect] | None]"

OUTCOME = wire.ResultAck.Outcome
HEARTBEAT_MS = 10_000


class Play:
    """One session on a stage."""

    def __init__(self, slots: int = 2, types: tuple[str, ...] = ("echo",)) -> None:
        identity = Identity("a-1", "a", "", {"region": "eu"}, slots, "test/1")
        self.session = Session(identity, list(types))
        self.now_ms = 0
        self.sent: list[wire.ConnectRequest] = []
        self.said: deque[str] = deque()

    def __rshift__(self, line: Line) -> Play:
        """An input, and whatever frames it brings about."""
        self.said.extend(words_of(effect) for effect in line(self) or [])
        while (frame := self.session.next_frame(self.now_ms)) is not None:
            self.sent.append(frame)
            self.said.append(words_of_frame(frame))
        return self

    def __lshift__(self, words: str) -> Play:
        """The next thing it did."""
        assert self.said, f"nothing was done; expected {words!r}"
        assert self.said.popleft() == words
        return self

    def at(self, now_ms: int) -> Play:
        """Time passes, with nothing else."""
        self.now_ms = now_ms
        return self >> (lambda _: None)

    def over(self) -> None:
        """Nothing is left to read."""
        assert list(self.said) == []


def words_of(effect: Effect) -> str:
    """An effect in words."""
    match effect:
        case Opened():
            return "opened again" if effect.is_resumed else "opened"
        case Start():
            return f"start {effect.assignment.lease_id}"
        case Stop():
            grace = "" if effect.grace_s is None else f" within {effect.grace_s:g} s"
            return f"stop {effect.lease_id}: {effect.reason}{grace}"
        case Settled():
            return f"settled {effect.lease_id}: {OUTCOME.Name(effect.outcome).removeprefix('OUTCOME_')}"  # type: ignore[arg-type]
        case Delivered():
            return f"delivered {effect.delivery.delivery_id} to {effect.lease_id}"
        case Published():
            return f"published {effect.message_id} of {effect.lease_id}"
        case Unsubscribed():
            return f"unsubscribed {effect.lease_id}: {effect.refusal.reason}"
        case ServerDrains():
            return "server drains"
        case AgentDrained():
            return "agent drained"
        case FrameRefused():
            return f"refused {effect.reason}: {effect.message}"


def words_of_frame(frame: wire.ConnectRequest) -> str:
    """A frame in words, in field order."""
    words: list[str] = []
    if frame.HasField("hello"):
        words.append(f"hello holding {' '.join(frame.hello.held_leases) or 'nothing'}")
    if frame.HasField("heartbeat"):
        beat = frame.heartbeat
        words.append(f"heartbeat slots={beat.slots}" if beat.HasField("slots") else "heartbeat")
    words += [
        f"ack {ack.lease_id}" if ack.accepted else f"reject {ack.lease_id}: {ack.reason}"
        for ack in frame.attempt_acks
    ]
    for item in frame.progress:
        piece = f" #{item.sequence}={item.chunk.decode()}" if item.sequence else ""
        words.append(f"progress {item.lease_id} {item.fraction:g}{piece}")
    words += [f"publish {publish.message_id}" for publish in frame.publishes]
    words += [f"{'leave' if wanted.action else 'read'} {wanted.lease_id}" for wanted in frame.subscribes]
    words += [f"acked {ack.delivery_id}" for ack in frame.delivery_acks]
    for result in frame.results:
        is_error = result.WhichOneof("result") == "error"
        words.append(f"result {result.lease_id}" + (f": {result.error.reason}" if is_error else ""))
    words += [
        f"{'withdraw' if change.removed else 'offer'} {change.capability}"
        for change in frame.capability_changes
    ]
    if frame.HasField("drain"):
        words.append("drain")
    if frame.HasField("goodbye"):
        words.append(f"goodbye {frame.goodbye.reason}")
    return "frame: " + ", ".join(words)


# Inputs.


def connected(play: Play) -> None:
    """A stream is there."""
    play.session.connected(play.now_ms)


def disconnected(play: Play) -> None:
    """The stream is gone."""
    play.session.disconnected()


def fenced(play: Play) -> None:
    """A newer session took over."""
    play.session.fenced()


def drain(play: Play) -> None:
    """The agent is to take nothing new."""
    play.session.drain()


def leave(play: Play) -> None:
    """The agent is to leave."""
    play.session.leave("bye")


def together(*lines: Line) -> Line:
    """Several inputs, before any frame is asked for."""

    def all_of(play: Play) -> list[Effect]:
        return [effect for line in lines for effect in line(play) or []]

    return all_of


def hears(frame: wire.ConnectResponse) -> Line:
    """A frame of the server."""
    return lambda play: play.session.received(frame)


def welcome(
    *, resumed: bool = False, dropped: tuple[str, ...] = (), output_max: int = 0, frame_max: int = 0
) -> Line:
    """The server's welcome."""
    frame = wire.ConnectResponse()
    frame.welcome.session_id = "s-1"
    frame.welcome.resumed = resumed
    frame.welcome.dropped_leases.extend(dropped)
    frame.welcome.heartbeat_interval.FromMilliseconds(HEARTBEAT_MS)
    frame.welcome.output_bytes_max = output_max
    frame.welcome.frame_bytes_max = frame_max
    return hears(frame)


def assign(*lease_ids: str, task_type: str = "echo") -> Line:
    """Assignments."""
    return hears(
        wire.ConnectResponse(
            assignments=[wire.Assignment(lease_id=each, type=task_type) for each in lease_ids]
        )
    )


def cancel(lease_id: str, reason: str = "CANCELLED", grace_ms: int | None = None) -> Line:
    """A cancel."""
    item = wire.AttemptCancel(lease_id=lease_id, reason=reason)
    if grace_ms is not None:
        item.grace.FromMilliseconds(grace_ms)
    return hears(wire.ConnectResponse(cancels=[item]))


def settle(lease_id: str, outcome: str = "ACCEPTED") -> Line:
    """The answer to a result."""
    number = OUTCOME.Value(f"OUTCOME_{outcome}")
    return hears(wire.ConnectResponse(result_acks=[wire.ResultAck(lease_id=lease_id, outcome=number)]))


def finish(lease_id: str, output: bytes = b"", error: str = "") -> Line:
    """The handler has ended."""
    result = wire.AttemptResult(lease_id=lease_id)
    if error:
        result.error.reason = error
    else:
        result.output.CopyFrom(payload_pb2.Payload(data=output))
    return lambda play: play.session.finish(result)


def say(lease_id: str, fraction: float) -> Line:
    """Progress."""
    return lambda play: play.session.say(lease_id, fraction, "")


def emit(lease_id: str, *pieces: bytes) -> Line:
    """Pieces of output."""

    def each(play: Play) -> None:
        for piece in pieces:
            play.session.emit(lease_id, piece)

    return each
