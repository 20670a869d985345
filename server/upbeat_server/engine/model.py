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
    return task_id << ATTEMPT_BITS | attempt  # type: ignore[return-value]  # A call less, with every task.


def task_of(lease_id: LeaseId) -> TaskId:
    """The task that a lease belongs to."""
    return lease_id >> ATTEMPT_BITS  # type: ignore[return-value]


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
    HEDGED = 7  # Another one was begun beside it, see ``hedging.py``.


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


class Limit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What all tasks that name the key may use together; 0 is no limit, and one of them is none."""

    key: str
    max_running: int = 0
    per_second: float = 0.0  # Starts.


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
    collaboration: Collaboration | None = None  # Then ``type`` is empty.
    name: str = ""  # Of a step within its collaboration.
    context: tuple[ContextEntry, ...] = ()  # What a child is given besides its input.
    limits: tuple[Limit, ...] = ()  # By key.
    sticky_key: str = ""


class ContextEntry(msgspec.Struct, frozen=True, gc=False):
    """Something a child is given besides its input."""

    name: str
    payload: Payload


class Budget(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a collaboration may use, all its descendants together; 0 is no limit."""

    children_max: int = 0
    attempts_max: int = 0
    cost_micros_max: int = 0
    attempt_cost_micros: int = 0  # What one attempt is reserved with.


class StopWhen(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition on an output: the value at a JSON pointer."""

    pointer: str = ""
    equals: bytes = b"null"  # As JSON.


class Sequential(msgspec.Struct, frozen=True, omit_defaults=True, tag="sequential"):
    """Steps one after the other. The numbers of choices are those of the wire here and below."""

    steps: tuple[TaskSpec, ...]
    context: int = 2  # 1 previous, 2 original and previous, 3 all.
    on_step_failure: int = 1  # 1 fail, 2 skip, 3 fallback.
    fallback: TaskSpec | None = None
    stop_when: StopWhen | None = None


class Parallel(msgspec.Struct, frozen=True, omit_defaults=True, tag="parallel"):
    """Steps at the same time, or one step for each item of a list."""

    steps: tuple[TaskSpec, ...]
    map_over: str | None = None  # JSON pointer into the input.
    join: int = 1  # 1 all, 2 quorum, 3 any, 4 settled.
    quorum: int = 0
    failure_policy: int = 1  # 1 fail fast, 2 collect.
    reducer: TaskSpec | None = None
    output_form: int = 1  # 1 list, 2 by name.


class Pipeline(msgspec.Struct, frozen=True, omit_defaults=True, tag="pipeline"):
    """Items through stages."""

    stages: tuple[TaskSpec, ...]
    items: tuple[Payload, ...] = ()
    open: bool = False
    items_pointer: str | None = None
    barrier: bool = False
    stage_concurrency: int = 16
    buffer: int = 16
    ordering: int = 1  # 1 preserve, 2 unordered.
    on_item_failure: int = 1  # 1 fail, 2 drop, 3 dead letter.
    max_item_failures: int = 0
    discard_outputs: bool = False


class Consensus(msgspec.Struct, frozen=True, omit_defaults=True, tag="consensus"):
    """Ballots of several agents."""

    voter: TaskSpec
    voters: int = 3
    rule: int = 1  # 1 majority, 2 plurality, 3 supermajority, 4 unanimous.
    supermajority: float = 0.0
    quorum: int = 0  # Resolved at the door, never 0 behind it.
    vote: str = ""
    normalize: int = 0  # 0 by content type, 1 exact, 2 trim and casefold, 3 canonical JSON, 4 number.
    tolerance: float = 0.0
    choices: tuple[str, ...] = ()
    weights: int = 1  # 1 equal, 2 static, 3 performance.
    weight_label: str = ""
    early_decision: bool = True
    on_no_consensus: int = 1  # 1 fail, 2 tie-break, 3 extra voter, 4 judge.
    judge: TaskSpec | None = None
    rounds: int = 1
    aggregate: int = 0  # 0 none, 1 median, 2 mean, 3 trimmed mean.


class Competitive(msgspec.Struct, frozen=True, omit_defaults=True, tag="competitive"):
    """Candidates of which one wins; a single one was multiplied at the door."""

    candidates: tuple[TaskSpec, ...]
    select: int = 1  # 1 first success, 2 first acceptable, 3 best of.
    accept: str = ""  # CEL over ``output``.
    validator: TaskSpec | None = None
    score: str = ""
    judge: TaskSpec | None = None
    launch: int = 1  # 1 all, 2 hedged, 3 staged.
    hedge_delay_ms: int = 0  # 0: learned.
    hedge_quantile: float = 0.95


class CustomMode(msgspec.Struct, frozen=True, omit_defaults=True, tag="custom"):
    """A mode that is installed under a name."""

    name: str
    params: Payload = NO_PAYLOAD
    steps: tuple[TaskSpec, ...] = ()


class Collaboration(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the children of a task work together; defaults resolved."""

    mode: Sequential | Parallel | Pipeline | Consensus | Competitive | CustomMode
    step_timeout_ms: int = 0
    max_concurrency: int = 16
    distinct_agents: bool = False  # Resolved at the door.
    on_infeasible: int = 1  # 1 wait, 2 fail fast.
    cancel_grace_ms: int = 5_000
    include_partial: bool = True
    budget: Budget | None = None


class Tally(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value that was voted for."""

    value: bytes  # As JSON.
    ballots: int
    weight: float


class ChildOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a child of a failed collaboration came to."""

    task_id: int
    ordinal: int
    state: int
    name: str = ""
    output: Payload | None = None
    error: Error | None = None


class ItemError(msgspec.Struct, frozen=True, omit_defaults=True):
    """An item of a pipeline that was given up in a stage."""

    index: int
    stage: int
    task_id: int
    error: Error | None = None


class CollaborationResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a collaboration came to; what does not belong to its mode has its default."""

    mode: str = ""
    winner_id: int = 0
    child_ids: tuple[int, ...] = ()
    tally: tuple[Tally, ...] = ()
    margin: float = 0.0
    winning_value: bytes = b""  # As JSON; empty: none.
    dissent_ids: tuple[int, ...] = ()
    missing: int = 0
    abstained: int = 0
    decided_early: bool = False
    rounds: int = 0
    partial: tuple[ChildOutcome, ...] = ()
    partial_truncated: bool = False
    item_errors: tuple[ItemError, ...] = ()
    failed_items: int = 0
    completed_items: int = 0
    wasted_ms: int = 0


class GroupRecord(msgspec.Struct, omit_defaults=True):
    """What is durable of a collaboration besides its children, which say the rest."""

    memo: bytes = b""  # What its mode froze when it began, and the mode's own business.
    items: int = 0  # Appended to an open pipeline so far.
    items_closed: bool = False
    in_doubt: bool = False  # It ran in a backup that was restored: more of it may have been done elsewhere.
    live: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    attempts: int = 0  # Handed out to all descendants; known once it has ended.
    made: int = 0  # Descendants ever made; known once it has ended.
    result: CollaborationResult | None = None


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
    ordinal: int = 0  # Of a child: its place among those of its parent, from 0.
    member: str = ""  # Of a child: what it is to its parent's mode.
    submit_ms: int = 0  # Of a child: when its root was submitted, which is its place in the queue.
    group: GroupRecord | None = None  # Of a collaboration.
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
