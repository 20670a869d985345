"""Orders the engine gives; the runtime performs them after the commit, in this order.

Persist first, then perform: nothing here leaves the process before everything
that the same turn persists is durable. Commands hold live objects; the runtime
reads what it needs of them in the turn that made them, before the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.bus.message import Message
    from upbeat_server.engine.model import Error, LeaseId, Refusal, SessionId, TaskId
    from upbeat_server.engine.task import Task


class PersistNote(msgspec.Struct):
    """Make a note durable: what must outlive a restart and is no task. The last of a turn counts."""

    kind: str
    key: str
    value: bytes | None  # None removes it.


class Persist(msgspec.Struct):
    """Make the task durable as it is at the end of the turn. Often repeated within one."""

    task: Task


class Submitted(msgspec.Struct):
    """A submission is the task ``task``: a new one, or a live one that it repeats."""

    origin: int
    index: int
    task: Task


class SubmissionKnown(msgspec.Struct):
    """A submission repeats the request_id of a finished task: look it up in the store.

    Same fingerprint: answer it. Another: refuse with REQUEST_ID_REUSED.
    """

    origin: int
    index: int
    task_id: TaskId
    fingerprint: bytes


class SubmissionRefused(msgspec.Struct):
    """A submission had no effect."""

    origin: int
    index: int
    refusal: Refusal


class CancelAnswered(msgspec.Struct):
    """The task is CANCELLED."""

    origin: int
    task: Task


class NotLive(msgspec.Struct):
    """The task is finished or unknown: the store knows which."""

    origin: int
    task_id: TaskId


class Welcome(msgspec.Struct):
    """The session is open; ``origin`` is the stream that said hello."""

    origin: int
    session_id: SessionId
    resumed: bool
    dropped_leases: list[int]
    draining: bool  # The agent is still drained by an operator.


class HelloRefused(msgspec.Struct):
    """The session did not open."""

    origin: int
    refusal: Refusal


class Assign(msgspec.Struct):
    """Hand the task's current attempt to the session."""

    session_id: SessionId
    task: Task
    lease_id: LeaseId
    time_remaining_ms: int


class CancelAttempt(msgspec.Struct):
    """Tell the session that an attempt is no longer wanted. Overtakes everything else."""

    session_id: SessionId
    lease_id: LeaseId
    reason: str
    grace_ms: int = 0  # How long its work has to wind up; 0: as long as the agent gives it.


class AckResult(msgspec.Struct):
    """Answer a result; ``outcome`` is a ResultOutcome."""

    session_id: SessionId
    lease_id: int
    outcome: int
    error: Error | None = None


class ResolveResult(msgspec.Struct):
    """A result for a task that is not live: the store says which answer it gets.

    ACCEPTED if ``lease_id`` is the accepted lease and ``agent_id`` held it,
    STALE if the task had such a lease or ended otherwise, UNKNOWN if there is
    no such task or lease.
    """

    session_id: SessionId
    lease_id: int
    agent_id: str


class EndSession(msgspec.Struct):
    """Close the stream with ABORTED and this reason (FENCED, SILENT)."""

    session_id: SessionId
    reason: str


class TellDrain(msgspec.Struct):
    """Tell the session that it gets nothing new (AGENT_DRAINED)."""

    session_id: SessionId


class AgentAnswered(msgspec.Struct):
    """Answer to AgentDrainWanted."""

    origin: int
    agent: Agent | None
    refusal: Refusal | None


class PauseAnswered(msgspec.Struct):
    """Answer to PauseWanted: the types that are paused, sorted."""

    origin: int
    paused: tuple[str, ...]
    refusal: Refusal | None


class ItemsAnswered(msgspec.Struct):
    """Answer to ItemsAppended and ItemsClosed: how many items there are, or why nothing was done."""

    origin: int
    item_count: int
    refusal: Refusal | None


class GradeAnswered(msgspec.Struct):
    """Answer to TaskGraded: how the agent stands."""

    origin: int
    agent_id: str
    graded: int
    correct: int
    refusal: Refusal | None = None


class TaskFinished(msgspec.Struct):
    """The task ended and has left the engine: tell whoever waits for it."""

    task: Task


class TaskProgressed(msgspec.Struct):
    """A running attempt said something. Not durable; for watchers only."""

    task_id: TaskId
    attempt: int
    fraction: float
    message: str
    chunk: bytes
    sequence: int


class AgentChanged(msgspec.Struct):
    """An agent came, went or changed; for watchers only."""

    agent: Agent


class ModeBroke(msgspec.Struct):
    """A mode raised, or answered what is no move: its collaboration failed, and an operator should know."""

    task_id: TaskId
    mode: str
    error: Exception


class PurgeFinished(msgspec.Struct):
    """Purge finished tasks that ended before ``before_ms`` and all but the newest ``keep``.

    The runtime answers with TasksPurged.
    """

    before_ms: int
    keep: int


class AckPublish(msgspec.Struct):
    """Answer a publish to the outlet that it came from: it is in the topic, or was refused."""

    outlet: int  # A session id, or minus an origin.
    topic: str
    message_id: str
    lease_id: int
    sequence: int
    durable: bool
    refusal: Refusal | None = None


class AnswerSubscribe(msgspec.Struct):
    """Answer a subscription to its outlet, or say that it is over (with a refusal)."""

    outlet: int
    topic: str
    subscriber: str
    lease_id: int
    refusal: Refusal | None = None


class Deliver(msgspec.Struct):
    """Send a message to a subscriber. Subscription and sequence acknowledge it."""

    outlet: int
    subscription_id: int
    topic: str
    subscriber: str
    sequence: int
    message: Message
    attempt: int
    redelivered: bool


class DeadLettersAnswered(msgspec.Struct):
    """Answer to DeadLettersRuled: how many were dropped or sent again, how many stayed."""

    origin: int
    count: int
    kept: int


Command: TypeAlias = (
    Persist
    | PersistNote
    | Submitted
    | SubmissionKnown
    | SubmissionRefused
    | CancelAnswered
    | NotLive
    | Welcome
    | HelloRefused
    | Assign
    | CancelAttempt
    | AckResult
    | ResolveResult
    | EndSession
    | TellDrain
    | AgentAnswered
    | PauseAnswered
    | ItemsAnswered
    | GradeAnswered
    | TaskFinished
    | TaskProgressed
    | AgentChanged
    | ModeBroke
    | PurgeFinished
    | AckPublish
    | AnswerSubscribe
    | Deliver
    | DeadLettersAnswered
)
