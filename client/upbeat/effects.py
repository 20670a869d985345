"""What a session asks its driver to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upbeat.v1 import agent_service_pb2 as wire
    from upbeat.v1 import bus_pb2, payload_pb2, refusal_pb2


@dataclass(frozen=True, slots=True)
class Opened:
    """The server has welcomed us."""

    session_id: str
    is_resumed: bool


@dataclass(frozen=True, slots=True)
class Start:
    """Run the handler; tell the session of its end with `finish`."""

    assignment: wire.Assignment


@dataclass(frozen=True, slots=True)
class Stop:
    """The attempt is no longer wanted; its end is still to be told with `finish`."""

    lease_id: str
    reason: str
    grace_s: float | None = None  # How long the handler has to wind up; None: as long as it likes.


@dataclass(frozen=True, slots=True)
class Settled:
    """The server has answered a result: nothing more is kept of the lease."""

    lease_id: str
    outcome: int
    error: payload_pb2.Error


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message has come for an attempt."""

    lease_id: str
    delivery: bus_pb2.BusDelivery


@dataclass(frozen=True, slots=True)
class Published:
    """The server has answered a message of an attempt."""

    lease_id: str
    message_id: str
    ack: bus_pb2.BusPublishAck


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The server delivers nothing more to an attempt."""

    lease_id: str
    refusal: refusal_pb2.Refusal


@dataclass(frozen=True, slots=True)
class ServerDrains:
    """The server is leaving: deliver what is there and reconnect, keeping the work."""


@dataclass(frozen=True, slots=True)
class AgentDrained:
    """An operator drains this agent: finish what runs and leave."""


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """Something in a frame was wrong; the stream goes on."""

    reason: str
    message: str


Effect = (
    Opened
    | Start
    | Stop
    | Settled
    | Delivered
    | Published
    | Unsubscribed
    | ServerDrains
    | AgentDrained
    | FrameRefused
)
