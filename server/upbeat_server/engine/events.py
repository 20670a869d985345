"""Facts that the engine is told, one struct each; ``step`` answers with commands.

``origin`` is a number the runtime makes up to route the answer (a call, a
stream); the engine hands it back and never looks at it. Where one object for
every item is too dear, one event carries a frame of items. What would be random
is data: 64 bits of ``entropy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from upbeat_server.engine.model import Error, Payload, Predicate, SessionId, TaskId, TaskSpec, Usage

if TYPE_CHECKING:
    from upbeat_server.engine.bus.message import Publish, Subscribe
    from upbeat_server.engine.collaboration.mode import Check


class Submission(msgspec.Struct, gc=False):
    """One task to accept. ``index`` is its place in the batch or a stream's own number."""

    index: int
    spec: TaskSpec
    spec_bytes: bytes  # The spec as it will be stored.
    fingerprint: bytes
    request_id: str = ""
    predicate: Predicate | None = None  # The compiled selector; None matches all.
    # Of a collaboration, by their text: the selectors of its steps, the checks of its competitions.
    predicates: dict[str, Predicate] = {}
    checks: dict[str, Check] = {}


class TasksSubmitted(msgspec.Struct):
    """Tasks arrived; answered by one Submitted, SubmissionKnown or SubmissionRefused each."""

    origin: int
    submissions: list[Submission]


class TaskCancelled(msgspec.Struct):
    """Somebody wants a task ended; answered by CancelAnswered, or NotLive if it is not here."""

    origin: int
    task_id: TaskId
    message: str = ""


class AgentConnected(msgspec.Struct):
    """An agent said hello; answered by Welcome or HelloRefused."""

    origin: int
    agent_id: str
    name: str
    capabilities: list[str]
    labels: dict[str, str]
    slots: int
    session_id: SessionId = SessionId(0)  # The session to resume; 0 for none.
    held_leases: list[int] = []
    sdk_version: str = ""


class AttemptAcked(msgspec.Struct, gc=False):
    """The agent's answer to one assignment."""

    lease_id: int
    accepted: bool
    reason: str = ""


class AttemptProgressed(msgspec.Struct, gc=False):
    """What an attempt says of itself."""

    lease_id: int
    fraction: float = 0.0
    message: str = ""
    chunk: bytes = b""
    sequence: int = 0


class AttemptEnded(msgspec.Struct, gc=False):
    """A reported result: ``output`` or ``error``; ``rejected`` when the door refused its body."""

    lease_id: int
    output: Payload | None = None
    error: Error | None = None
    usage: Usage | None = None
    rejected: bool = False  # Then ``error`` says why; answered REJECTED, charged as a failure.


class CapabilityChanged(msgspec.Struct, gc=False):
    """A capability that comes or goes."""

    capability: str
    removed: bool


class AgentFrame(msgspec.Struct):
    """One frame of an agent, its fields handled in this order. Any frame is a sign of life.

    The bus comes before results: what a child says last needs the lease that its result ends.
    """

    session_id: SessionId
    slots: int = -1  # -1: unchanged.
    acks: list[AttemptAcked] = []
    progress: list[AttemptProgressed] = []
    publishes: list[Publish] = []
    subscribes: list[Subscribe] = []
    delivery_acks: list[tuple[int, int]] = []  # Subscription and sequence.
    results: list[AttemptEnded] = []
    changes: list[CapabilityChanged] = []
    drain: bool = False
    goodbye: bool = False


class SessionEnded(msgspec.Struct):
    """A stream is gone. A goodbye arrived before as a frame, if there was one."""

    session_id: SessionId


class AgentDrainWanted(msgspec.Struct):
    """An operator drains an agent; answered by AgentAnswered, which may hold a refusal."""

    origin: int
    agent_id: str


class PauseWanted(msgspec.Struct):
    """An operator pauses the tasks of a type, or resumes them; answered by PauseAnswered."""

    origin: int
    type: str
    is_paused: bool


class ItemsAppended(msgspec.Struct):
    """Items for an open pipeline; answered by ItemsAnswered, or NotLive."""

    origin: int
    task_id: TaskId
    items: list[Payload]
    first_index: int = -1  # -1: behind the last.


class ItemsClosed(msgspec.Struct):
    """No more items come to an open pipeline; answered by ItemsAnswered, or NotLive."""

    origin: int
    task_id: TaskId


class TaskGraded(msgspec.Struct):
    """Somebody knows whether the output of a completed task was right; answered by GradeAnswered."""

    origin: int
    task_id: TaskId
    agent_id: str
    type: str
    correct: bool


class TasksPurged(msgspec.Struct):
    """The store forgot finished tasks; their request ids are free again."""

    request_ids: list[str]


class MessagePublished(msgspec.Struct):
    """A party that is no agent publishes; answered by AckPublish."""

    origin: int
    publisher: str
    publish: Publish


class StreamSubscribed(msgspec.Struct):
    """A stream of subscriptions begins or ends some; each is answered by AnswerSubscribe."""

    origin: int
    subscribes: list[Subscribe]


class DeliveriesAcked(msgspec.Struct):
    """A stream of subscriptions acknowledges messages, by subscription and sequence."""

    origin: int
    deliveries: list[tuple[int, int]]


class SubscriberLeft(msgspec.Struct):
    """A stream of subscriptions is gone."""

    origin: int


class DeadLettersRuled(msgspec.Struct):
    """An operator drops dead letters or sends them again; answered by DeadLettersAnswered.

    Those of ``dead_letter_ids``, or all if it is empty, that are of the topic and the subscriber;
    "" is any.
    """

    origin: int
    dead_letter_ids: list[int]
    topic: str
    subscriber: str
    is_redelivery: bool


class AdoptionStarted(msgspec.Struct):
    """The server listens: from now the grace for agents to come back with their leases counts."""


class TurnEnded(msgspec.Struct):
    """The last event of every turn: fires due timers, hands out work."""

    entropy: int
    pressure: float = 0.0  # Share of its time that the server has worked lately, from 0 to 1.


Event: TypeAlias = (
    TasksSubmitted
    | TaskCancelled
    | AgentConnected
    | AgentFrame
    | SessionEnded
    | AgentDrainWanted
    | PauseWanted
    | ItemsAppended
    | ItemsClosed
    | TaskGraded
    | TasksPurged
    | MessagePublished
    | StreamSubscribed
    | DeliveriesAcked
    | SubscriberLeft
    | DeadLettersRuled
    | AdoptionStarted
    | TurnEnded
)
