"""Everything that upbeat raises, one class for each kind of refusal.

Catch by class (`QueueFull`), by family (`ResourceExhausted`) or all at once
(`UpbeatError`). The server names reasons; a reason that this release does not
know becomes its family, so that a newer server breaks no older client.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upbeat.outcome import CollaborationResult, TallyEntry


@dataclass(frozen=True, slots=True)
class Violation:
    """A field at fault: its path (`spec.type`) and what is wrong with it."""

    field: str
    description: str


class UpbeatError(Exception):
    """Base of all errors of upbeat.

    `reason` is a name of `ErrorReason` without its prefix, `code` the name of
    the gRPC code (empty where no call was refused), `metadata` the changing
    parts of the message, `retry_after` the seconds after which trying again may
    help (None: unknown, or it does not help).
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.metadata: dict[str, str] = dict(metadata or {})
        self.violations: tuple[Violation, ...] = tuple(violations)
        self.retry_after = retry_after

    def __str__(self) -> str:
        head = f"{self.reason}: {self.message}" if self.reason else self.message
        told = [f"{each.field}: {each.description}" for each in self.violations]
        return "\n  ".join([head, *(text for text in told if text != self.message)])


class Refused(UpbeatError):
    """The server refused a call; what was asked for had no effect."""


class InvalidArgument(Refused):
    """What was sent is not acceptable; sending it again does not help."""


class MalformedMessage(InvalidArgument):
    """The server could not read the message: client and server do not fit."""


class InvalidField(InvalidArgument):
    """One or more fields are out of bounds: see `violations`."""


class UnsupportedField(InvalidField):
    """A field was set whose work this server does not do yet: see `violations`."""


class TaskTooLarge(InvalidArgument):
    """The input is larger than the server takes; submit a reference to it instead."""


class InvalidSelector(InvalidArgument):
    """The selector does not parse, or is too long or too deep."""


class InvalidPageToken(InvalidArgument):
    """The page token belongs to another query."""


class NamespaceMismatch(InvalidArgument):
    """An inner namespace differs from the outer one."""


class NotFound(Refused):
    """What was asked for does not exist in this namespace."""


class TaskNotFound(NotFound):
    """No such task, or it was purged."""


class AgentNotFound(NotFound):
    """No such agent."""


class SubscriberNotFound(NotFound):
    """The topic has no such subscriber."""


class AlreadyExists(Refused):
    """It exists already."""


class RequestIdReused(AlreadyExists):
    """The request_id was used before, with another spec."""


class DuplicateTask(AlreadyExists):
    """An unfinished task has this dedup_key; `metadata` names it."""


class FailedPrecondition(Refused):
    """Not possible in the present state."""


class TaskFinished(FailedPrecondition):
    """The task is COMPLETED or FAILED; `metadata` has its state."""


class ItemsClosed(FailedPrecondition):
    """The task is no open pipeline, or its items are closed."""


class NotGradable(FailedPrecondition):
    """The task has not completed, or it is no agent's own work: grade the children of a collaboration."""


class NotRetryable(FailedPrecondition):
    """The task has not ended, has completed, or is part of a collaboration: retry its root."""


class SampleDisabled(FailedPrecondition):
    """The sample service is off on this server."""


class ResourceExhausted(Refused):
    """A bound was hit; `retry_after` says when to try again, where that helps."""


class QueueFull(ResourceExhausted):
    """The namespace holds as many unfinished tasks, or bytes of them, as it may."""


class ItemsFull(ResourceExhausted):
    """As many items of an open pipeline wait as may; `retry_after` says when to try again."""


class TopicFull(ResourceExhausted):
    """The topic holds as many messages as it may: its subscribers have to acknowledge some."""


class ServerBusy(ResourceExhausted):
    """The server has more to do at the moment than it takes on."""


class StreamsExhausted(ResourceExhausted):
    """Too many watches or submission streams are open."""


class MessageTooLarge(ResourceExhausted):
    """A message is larger than the limit."""


class Unauthenticated(Refused):
    """No bearer token, or one that the server does not know."""


class PermissionDenied(Refused):
    """The token's role or namespace does not allow this call."""


class Unavailable(Refused):
    """The server cannot be reached or cannot answer; the outcome is indefinite.

    The client has already tried again for its `patience`. Repeat a submission
    with the same request_id: it becomes the same task.
    """


class Aborted(Refused):
    """The call was ended by the server."""


class AgentFenced(Aborted):
    """A newer session of the same agent id took over: this one ends for good."""


class OutOfRange(Refused):
    """Outside of what the server holds."""


class RevisionOutOfRange(OutOfRange):
    """The revision is no longer held: start the watch anew, from a snapshot."""


class Unimplemented(Refused):
    """This server does not have the call."""


class InternalError(Refused):
    """A defect of the server; its log has it under the id in the message."""


class ClientClosed(UpbeatError):
    """The client was closed while something waited, or is used after it was."""


class CodecError(UpbeatError, ValueError):
    """A value does not fit the type that a skill names, or cannot be encoded."""


class ServerExtraMissing(UpbeatError, ImportError):
    """`upbeat.testing` needs the server: `pip install "upbeat[server]"`."""


class TaskEnded(UpbeatError):
    """A task ended without a result: base of TaskFailed and TaskCancelled."""

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        task_id: str,
        attempt_count: int = 0,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=details)
        self.task_id = task_id
        self.attempt_count = attempt_count


class TaskFailed(TaskEnded):
    """The task FAILED; `reason` and `metadata` are what its last attempt reported."""


class CollaborationFailed(TaskFailed):
    """A collaboration FAILED for a reason of its own.

    `collaboration` is what it came to all the same, the tally and the outputs of
    its children included; None where that is not known (of `Client.map`, or when
    the server could not be asked).
    """

    collaboration: CollaborationResult | None = None


class StepFailed(CollaborationFailed):
    """A step of a collaboration failed; `metadata` is what the server says of it."""

    @property
    def step(self) -> str:
        """Which one: its name, or what it is to the collaboration (`step/1`)."""
        return self.metadata.get("step", "")

    @property
    def step_task_id(self) -> str:
        """The child that failed."""
        return self.metadata.get("task_id", "")

    @property
    def step_reason(self) -> str:
        """Why the child failed: the reason of its error."""
        return self.metadata.get("reason", "")


class NoConsensus(CollaborationFailed):
    """The ballots did not meet the rule, or were too few."""

    @property
    def tally(self) -> tuple[TallyEntry, ...]:
        """What was voted for, the heaviest first; empty where that is not known."""
        return () if self.collaboration is None else self.collaboration.tally


class NoWinner(CollaborationFailed):
    """No candidate of a race won; `metadata` has every error."""


class BudgetExceeded(CollaborationFailed):
    """The budget of the collaboration is used up."""


class Infeasible(CollaborationFailed):
    """Too few capable agents were connected, and it was asked not to wait for them."""


class InvalidForm(CollaborationFailed):
    """An input or output has not the form that the collaboration needs."""


class ModeFailed(CollaborationFailed):
    """The custom mode is not installed on the server, or broke."""


class TaskTimedOut(TaskFailed, TimeoutError):
    """The task FAILED because of its queue, attempt or total timeout."""


class TaskCancelled(TaskEnded):
    """The task was CANCELLED."""


class AttemptCancelled(asyncio.CancelledError):
    """Raised in a handler whose attempt is no longer wanted; let it pass.

    Not an `Exception`, so that `except Exception` does not swallow it.
    """


class Fail(Exception):
    """Raise it in a handler to fail the attempt with a reason of your own.

    `retryable=False` ends the task at once, whatever its retry policy says;
    None leaves that to the policy. `reason` has 1 to 63 characters of
    `[A-Za-z0-9_.-]`.
    """

    def __init__(
        self,
        reason: str,
        message: str = "",
        *,
        retryable: bool | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        if not 1 <= len(reason) <= 63 or not all(c.isascii() and (c.isalnum() or c in "_.-") for c in reason):
            raise ValueError(f"reason {reason!r}: 1 to 63 characters of [A-Za-z0-9_.-]")
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message
        self.retryable = retryable
        self.details: dict[str, str] = dict(details or {})


class Abstain(Fail):
    """Raise it in the handler of a voter to cast no ballot.

    It is neither a failure of the agent nor replaced by another ballot. Outside
    of a consensus it fails the attempt for good.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__("ABSTAINED", message, retryable=False)


FAMILIES: Mapping[str, type[Refused]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": Unavailable,
    "ABORTED": Aborted,
    "OUT_OF_RANGE": OutOfRange,
    "UNIMPLEMENTED": Unimplemented,
    "INTERNAL": InternalError,
}

REASONS: Mapping[str, type[Refused]] = {
    "MALFORMED_MESSAGE": MalformedMessage,
    "INVALID_FIELD": InvalidField,
    "UNSUPPORTED_FIELD": UnsupportedField,
    "TASK_TOO_LARGE": TaskTooLarge,
    "INVALID_SELECTOR": InvalidSelector,
    "INVALID_PAGE_TOKEN": InvalidPageToken,
    "NAMESPACE_MISMATCH": NamespaceMismatch,
    "HELLO_REPEATED": InvalidArgument,
    "TASK_NOT_FOUND": TaskNotFound,
    "AGENT_NOT_FOUND": AgentNotFound,
    "SUBSCRIBER_NOT_FOUND": SubscriberNotFound,
    "REQUEST_ID_REUSED": RequestIdReused,
    "DUPLICATE_TASK": DuplicateTask,
    "TASK_FINISHED": TaskFinished,
    "HELLO_REQUIRED": FailedPrecondition,
    "NOT_A_MEMBER": FailedPrecondition,
    "SAMPLE_DISABLED": SampleDisabled,
    "ITEMS_CLOSED": ItemsClosed,
    "NOT_GRADABLE": NotGradable,
    "NOT_RETRYABLE": NotRetryable,
    "QUEUE_FULL": QueueFull,
    "QUEUE_BYTES_FULL": QueueFull,
    "SIGNATURES_EXHAUSTED": ResourceExhausted,
    "FAIRNESS_KEYS_EXHAUSTED": ResourceExhausted,
    "LIMIT_KEYS_EXHAUSTED": ResourceExhausted,
    "PAUSED_TYPES_EXHAUSTED": ResourceExhausted,
    "AGENTS_EXHAUSTED": ResourceExhausted,
    "NAMESPACES_EXHAUSTED": ResourceExhausted,
    "TOPIC_FULL": TopicFull,
    "TOPICS_EXHAUSTED": ResourceExhausted,
    "SUBSCRIBERS_EXHAUSTED": ResourceExhausted,
    "SERVER_BUSY": ServerBusy,
    "ITEMS_FULL": ItemsFull,
    "STREAMS_EXHAUSTED": StreamsExhausted,
    "MESSAGE_TOO_LARGE": MessageTooLarge,
    "WINDOW_EXCEEDED": ServerBusy,
    "TOKEN_INVALID": Unauthenticated,
    "ROLE_INSUFFICIENT": PermissionDenied,
    "DRAINING": Unavailable,
    "STORE_UNAVAILABLE": Unavailable,
    "FENCED": AgentFenced,
    "SILENT": Aborted,
    "SLOW_READER": Aborted,
    "REVISION_OUT_OF_RANGE": RevisionOutOfRange,
    "NOT_BUILT": Unimplemented,
    "INTERNAL": InternalError,
    "CALL_CANCELLED": Unavailable,
}

TASK_REASONS: Mapping[str, type[TaskFailed]] = {
    "QUEUE_TIMEOUT": TaskTimedOut,
    "ATTEMPT_TIMEOUT": TaskTimedOut,
    "TOTAL_TIMEOUT": TaskTimedOut,
    "STEP_FAILED": StepFailed,
    "NO_CONSENSUS": NoConsensus,
    "NO_WINNER": NoWinner,
    "INFEASIBLE": Infeasible,
    "BUDGET_EXCEEDED": BudgetExceeded,
    "INVALID_FORM": InvalidForm,
    "MODE_FAILED": ModeFailed,
}
"""What a FAILED task raises by its reason; TaskFailed for all others."""


def refused(code: str, reason: str) -> type[Refused]:
    """The class for a refusal: by its reason, else by its code, else Refused."""
    return REASONS.get(reason) or FAMILIES.get(code, Refused)
