"""What a handler is given besides its input."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from upbeat import codec
from upbeat.errors import AttemptCancelled, FailedPrecondition

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from upbeat.group import Group
    from upbeat.v1 import agent_service_pb2 as wire
    from upbeat.v1 import payload_pb2
    from upbeat.voice import Voice


@dataclass(frozen=True, slots=True)
class LastProgress:
    """What the attempt before this one said last."""

    fraction: float
    message: str


T = TypeVar("T")


class Given(Mapping[str, Any]):
    """What a step of a collaboration is given besides its input, by name.

    Values are decoded when they are asked for; one that cannot be raises CodecError.
    """

    def __init__(self, assignment: wire.Assignment) -> None:
        self._payloads: dict[str, payload_pb2.Payload] = {
            entry.name: entry.payload for entry in assignment.context
        }

    def __repr__(self) -> str:
        return f"Given({', '.join(self._payloads)})"

    def __getitem__(self, name: str) -> Any:
        return codec.decode(self._payloads[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._payloads)

    def __len__(self) -> int:
        return len(self._payloads)

    def typed(self, name: str, kind: type[T]) -> T:
        """The value as `kind`; raises KeyError where it is not given, CodecError where it does not fit."""
        value: T = codec.decode(self._payloads[name], kind)
        return value


class Context:
    """One attempt, as its handler sees it.

    `idempotency_key` is the same for every attempt of this work: hand it to
    whatever must not happen twice. `labels` are the task's, `traceparent` is the
    W3C trace context of this attempt, or its caller's where the server makes no spans (a
    handler that uses OpenTelemetry runs in a span below it already), `last_progress` what
    the attempt before said last (None on a first attempt). `cancelled` is set when the attempt is no longer
    wanted: an async handler is cancelled as well, a sync one has to look.

    Within a collaboration `parent_task_id` is that, else empty, and `context` has
    what the step is given besides its input: in a sequence `original`, `previous`
    (where the step has an input of its own) and `outputs` (where asked for); in a
    further round of a consensus, and for its judge, `ballots`; for the judge of a
    race `first` and `second`.
    """

    def __init__(
        self,
        assignment: wire.Assignment,
        voice: Voice,
        cancelled: threading.Event,
        group: Group | None = None,
    ) -> None:
        self.task_id = assignment.task_id
        self.lease_id = assignment.lease_id
        self.attempt = assignment.attempt
        self.type = assignment.type
        self.labels = dict(assignment.labels)
        self.traceparent = assignment.traceparent
        self.idempotency_key = assignment.idempotency_key
        self.parent_task_id = assignment.parent_task_id
        self.context = Given(assignment)
        self.last_progress: LastProgress | None = None
        if assignment.HasField("last_progress"):
            last = assignment.last_progress
            self.last_progress = LastProgress(last.fraction, last.message)
        self.cancelled = cancelled
        self.deadline: float | None = None
        """When the attempt times out, on the clock of `time.monotonic()`; None: never."""
        if assignment.HasField("time_remaining"):
            self.deadline = time.monotonic() + assignment.time_remaining.ToNanoseconds() / 1e9
        self._voice = voice
        self._group = group

    @property
    def group(self) -> Group:
        """The siblings of this task in its collaboration. Raises FailedPrecondition where there is none."""
        if self._group is None:
            raise FailedPrecondition(
                f"task {self.task_id} is not the child of a collaboration: it has no siblings to talk to",
                reason="NOT_A_MEMBER",
            )
        return self._group

    @property
    def original(self) -> Any:
        """The input of the collaboration, decoded by what it is; None where it is not given."""
        return self.context.get("original")

    @property
    def previous(self) -> Any:
        """The output of the step before, where that is not the input; else None."""
        return self.context.get("previous")

    @property
    def time_remaining(self) -> float | None:
        """Seconds until the attempt times out, not below 0; None: no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def raise_if_cancelled(self) -> None:
        """Raise AttemptCancelled if the attempt is no longer wanted: for sync handlers."""
        if self.cancelled.is_set():
            raise AttemptCancelled(self._voice.stop_reason or "CANCELLED")

    async def progress(self, fraction: float, message: str = "") -> None:
        """Say how far it is, from 0 to 1. Cheap: only the latest is sent. Raises ValueError."""
        self._voice.say(fraction, message)
        await asyncio.sleep(0)  # A loop that only reports must still be cancellable.

    def progress_sync(self, fraction: float, message: str = "") -> None:
        """`progress`, for threads."""
        self._voice.say(fraction, message)

    async def emit(self, chunk: str | bytes) -> None:
        """Send a piece of output to whoever watches, while the attempt runs.

        Waits while earlier pieces have not been sent. Pieces keep their order;
        they are not stored and not part of the result, and while the server is
        away the oldest are dropped.
        """
        for piece in self._voice.pieces(chunk):
            await self._voice.emit(piece)

    def emit_sync(self, chunk: str | bytes) -> None:
        """`emit`, for threads."""
        for piece in self._voice.pieces(chunk):
            self._voice.emit_sync(piece)

    def report_usage(self, *, input_tokens: int = 0, output_tokens: int = 0, cost_micros: int = 0) -> None:
        """Add to what this attempt has used; sent with its result, whatever that is.

        `cost_micros` are millionths of the currency unit. Raises ValueError for
        negative numbers.
        """
        if min(input_tokens, output_tokens, cost_micros) < 0:
            raise ValueError("usage is not negative")
        usage = self._voice.usage
        usage.input_tokens += input_tokens
        usage.output_tokens += output_tokens
        usage.cost_micros += cost_micros
