"""The nouns of the engine: specs, tasks, attempts, leases.

Times are whole milliseconds of engine time (see ``clock.py``), durations are
whole milliseconds; 0 in a field that ends in ``_ms`` means "not set" unless its
comment says otherwise. Ids are integers here and text on the wire.

The structs that are stored (``TaskSpec``, ``TaskRecord`` and what they hold)
only ever gain fields, each with a default; see ``store/codec.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NewType, TypeAlias

import msgspec

TaskId = NewType("TaskId", int)
"""``epoch << 40 | sequence``: unique in a namespace, ordered in time, never reused."""

LeaseId = NewType("LeaseId", int)
"""``task_id << 16 | attempt``: the attempts of a task never repeat a number."""

SessionId = NewType("SessionId", int)
"""``epoch << 40 | sequence``, like a task id. 0 is no session."""

Labels: TypeAlias = Mapping[str, str]

Predicate: TypeAlias = Callable[[Labels], bool]
"""A compiled selector over labels. Total: one that fails answers False."""

NO_TASK = TaskId(0)
NO_SESSION = SessionId(0)
EPOCH_SHIFT = 40
ATTEMPT_BITS = 16
ATTEMPTS_MAX = 10_000
"""Leases that any task may be granted, returned ones included."""


def lease_of(task_id: TaskId, attempt: int) -> LeaseId:
    """The lease of one attempt of one task."""
    return LeaseId(task_id << ATTEMPT_BITS | attempt)


def task_of(lease_id: LeaseId) -> TaskId:
    """The task that a lease belongs to."""
    return TaskId(lease_id >> ATTEMPT_BITS)


def attempt_of(lease_id: LeaseId) -> int:
    """The attempt that a lease stands for."""
    return lease_id & ((1 << ATTEMPT_BITS) - 1)


class Priority(IntEnum):
    """Class of a task; the numbers are those of the wire and of the store."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4


class TaskState(IntEnum):
    """State of a task; the numbers are those of the wire and of the store."""

    PENDING = 1
    QUEUED = 2
    RUNNING = 3
    COMPLETED = 4
    FAILED = 5
    CANCELLED = 6


class AgentState(IntEnum):
    """State of an agent; the numbers are those of the wire."""

    CONNECTED = 1
    SUSPECT = 2
    DRAINING = 3
    DISCONNECTED = 4


class SideEffects(IntEnum):
    """What a second run would do; the numbers are those of the wire."""

    IDEMPOTENT = 1
    NONE = 2
    UNSAFE = 3


class AttemptOutcome(IntEnum):
    """How an attempt ended; the numbers are those of the wire. 0 is running."""

    RUNNING = 0
    COMPLETED = 1
    FAILED = 2
    TIMED_OUT = 3
    LEASE_LOST = 4
    RETURNED = 5
    CANCELLED = 6


class ResultOutcome(IntEnum):
    """What became of a reported result; the numbers are those of the wire."""

    ACCEPTED = 1
    STALE = 2
    UNKNOWN = 3
    REJECTED = 4


class Payload(msgspec.Struct, frozen=True, gc=False):
    """Bytes with a content type; "" is ``application/octet-stream``."""

    content_type: str = ""
    data: bytes = b""


class Error(msgspec.Struct, frozen=True, gc=False):
    """Why an attempt or a task failed. ``non_retryable`` None: the policy decides."""

    reason: str
    message: str = ""
    non_retryable: bool | None = None
    details: dict[str, str] = {}


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What an agent reports to have used."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0

    def plus(self, other: Usage) -> Usage:
        """The sum of both."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_micros + other.cost_micros,
        )


class RetryPolicy(msgspec.Struct, frozen=True, gc=False):
    """When a failed attempt is tried again; defaults resolved."""

    max_attempts: int = 3
    initial_backoff_ms: int = 500
    multiplier: float = 2.0
    max_backoff_ms: int = 60_000
    non_retryable_reasons: tuple[str, ...] = ()


NO_PAYLOAD = Payload()
NO_USAGE = Usage()
DEFAULT_RETRY = RetryPolicy()
DEFAULT_ATTEMPT_TIMEOUT_MS = 300_000


class TaskSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a caller asked for, validated and with defaults resolved."""

    type: str
    input: Payload = NO_PAYLOAD
    priority: int = 2
    required_capabilities: tuple[str, ...] = ()  # Sorted, without repeats or the type.
    selector: str = ""
    fairness_key: str = ""
    fairness_weight: float = 1.0
    labels: dict[str, str] = {}
    size_hint: float = 0.0
    queue_timeout_ms: int = 0
    attempt_timeout_ms: int = DEFAULT_ATTEMPT_TIMEOUT_MS
    total_timeout_ms: int = 0
    retry: RetryPolicy = DEFAULT_RETRY
    not_before_ms: int = 0
    side_effects: int = 1
    dedup_key: str = ""
    traceparent: str = ""


class Attempt(msgspec.Struct, omit_defaults=True):
    """One try of a task on one agent, as it is remembered."""

    attempt: int
    agent_id: str
    start_ms: int
    end_ms: int = 0
    outcome: int = 0
    error: Error | None = None


class TaskRecord(msgspec.Struct, omit_defaults=True):
    """What is durable of a task besides its spec. Changed by the engine only."""

    task_id: int
    state: int
    create_ms: int
    request_id: str = ""
    fingerprint: bytes = b""  # Of the encoded spec; tells a repeat from a reuse.
    parent_id: int = 0
    root_id: int = 0  # 0: the task itself.
    start_ms: int = 0  # First lease.
    end_ms: int = 0
    queued_since_ms: int = 0  # When it last became QUEUED.
    eligible_ms: int = 0  # When a PENDING task becomes QUEUED.
    attempt: int = 0  # Leases granted; the current lease is lease_of(task_id, attempt).
    failures: int = 0  # Attempts charged against max_attempts.
    lease_losses: int = 0
    acked: bool = False  # Whether the agent took the current attempt; stored for UNSAFE only.
    attempts: list[Attempt] = []  # The last ATTEMPTS_KEPT, oldest first.
    attempt_deadline_ms: int = 0  # Of the running attempt.
    output: Payload | None = None
    error: Error | None = None
    usage: Usage = NO_USAGE
    revision: int = 0  # Of the last change.
    accepted_attempt: int = 0  # The attempt whose result (or error, last) ended the task.
    failed_agents: list[str] = []  # Agents whose attempts failed, at most 16.
    newer: bytes = b""  # As a newer release wrote it, if one did; the codec's own business.


ATTEMPTS_KEPT = 10
FAILED_AGENTS_KEPT = 16

FINISHED = frozenset((TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED))
"""States without a way out; ``task_machine.py`` computes the same from its table."""


class Refusal(msgspec.Struct, frozen=True):
    """Why something was refused: a value, never an exception, inside the engine.

    ``violations`` are (field path, what is wrong with limit and remedy);
    ``retry_ms`` is 0 where trying again does not help.
    """

    reason: str  # A name from reasons.py.
    message: str
    metadata: dict[str, str] = {}
    violations: tuple[tuple[str, str], ...] = ()
    retry_ms: int = 0
