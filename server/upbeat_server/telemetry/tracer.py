"""Spans of attempts, collaborations and calls, made with OpenTelemetry.

Imported only where tracing is on. A span of an attempt is made when the attempt has
ended, from what is stored of it, under the id that its agent was told when it began
(``trace_context.py``): nothing is kept in between, not even over a restart. What a
task carries (input, output, labels, messages of errors) never gets into a span.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from upbeat_server.engine.model import FINISHED, AttemptOutcome, TaskState, lease_of
from upbeat_server.telemetry.call_spans import CallSpan
from upbeat_server.telemetry.trace_context import (
    SAMPLED,
    TraceParent,
    attempt_span_id,
    collaboration_span_id,
    read_traceparent,
    trace_id_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from upbeat_server.engine.model import Attempt, TaskRecord, TaskSpec
    from upbeat_server.engine.task import Task

log = structlog.get_logger("upbeat.telemetry")

COMPLETED, HEDGED = AttemptOutcome.COMPLETED, AttemptOutcome.HEDGED

MEMBER_LINKS_MAX: Final = 128
"""Of one collaboration; as many as OpenTelemetry keeps of a span by default."""
FAMILIES_MAX: Final = 10_000
"""Collaborations whose members are remembered until they end; the oldest are forgotten first."""

_FAILED = frozenset((AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT, AttemptOutcome.LEASE_LOST))


class ChosenIds(RandomIdGenerator):
    """Gives the next span the ids that were chosen for it, and random ones to all others."""

    def __init__(self) -> None:
        self._trace_id = self._span_id = 0

    def choose(self, trace_id: int, span_id: int) -> None:
        """What the next span is to have; a trace, not 0, only if it has no parent to have it from."""
        self._trace_id, self._span_id = trace_id, span_id

    def generate_span_id(self) -> int:
        """The id of the next span."""
        chosen, self._span_id = self._span_id, 0
        return chosen or super().generate_span_id()

    def generate_trace_id(self) -> int:
        """The trace of the next span without a parent."""
        chosen, self._trace_id = self._trace_id, 0
        return chosen or super().generate_trace_id()


class Tracer:
    """What the runtime and the door tell of attempts and calls, as spans.

    Used on the loop's thread only; exporting is the provider's business.
    """

    def __init__(self, provider: TracerProvider, ids: ChosenIds, version: str) -> None:
        self._tracer = provider.get_tracer("upbeat_server", version)
        self._sampler = provider.sampler
        self._ids = ids
        self._families: OrderedDict[tuple[str, int], list[Link]] = OrderedDict()

    # Told by the runtime.

    def traceparent(self, namespace: str, task: Task) -> str:
        """What the agent of the attempt that begins is told: the attempt's own span."""
        try:
            return self._traceparent(namespace, task)
        except Exception:
            log.exception("tracing_broke")  # No work may suffer from it.
            return task.spec.traceparent

    def _traceparent(self, namespace: str, task: Task) -> str:
        record = task.record
        trace_id, parent = self._trace(namespace, task.spec, record)
        span_id = attempt_span_id(trace_id, namespace, record.task_id, record.attempts[-1])
        flags = 0 if parent is None else parent.flags & ~SAMPLED
        if self._samples(trace_id, parent):
            flags |= SAMPLED
        return str(TraceParent(trace_id, span_id, flags))

    def committed(self, namespace: str, tasks: Iterable[Task]) -> None:
        """These tasks have changed, durably: tell the attempts and collaborations that ended."""
        try:
            self._committed(namespace, tasks)
        except Exception:
            log.exception("tracing_broke")  # No work may suffer from it.

    def adopted(
        self, namespace: str, tasks: Iterable[Task], members: Iterable[tuple[TaskRecord, TaskSpec]]
    ) -> None:
        """A namespace was read from the store, with these members of collaborations that have ended."""
        for key in [key for key in self._families if key[0] == namespace]:
            del self._families[key]
        for task in tasks:
            task.told_attempt = max((a.attempt for a in task.record.attempts if a.outcome), default=0)
        for record, spec in members:
            self._joined(namespace, spec, record)

    def _committed(self, namespace: str, tasks: Iterable[Task]) -> None:
        whole: list[Task] = []
        for task in tasks:
            record = task.record
            for attempt in record.attempts:
                # One that was hedged goes on: it has ended when the task has.
                if attempt.outcome and attempt.outcome != HEDGED and attempt.attempt > task.told_attempt:
                    task.told_attempt = attempt.attempt
                    self._attempt(namespace, task.spec, record, attempt)
            if record.state in FINISHED:
                for attempt in record.attempts:
                    if attempt.outcome == HEDGED or (
                        attempt.outcome == COMPLETED and attempt.attempt < record.attempt
                    ):
                        self._attempt(namespace, task.spec, record, attempt)
                if task.spec.collaboration is not None:
                    whole.append(task)
                if record.parent_id:
                    self._joined(namespace, task.spec, record)
        for task in whole:  # After the members that ended in the same commit.
            self._collaboration(namespace, task.spec, task.record)

    def _joined(self, namespace: str, spec: TaskSpec, record: TaskRecord) -> None:
        """A member of a collaboration has ended, now or before a restart."""
        key = (namespace, record.parent_id)
        links = self._families.get(key)
        if links is not None and len(links) >= MEMBER_LINKS_MAX:
            return
        trace_id, parent = self._trace(namespace, spec, record)
        if parent is None or not parent.is_sampled:
            return
        if spec.collaboration is not None:
            span_id = collaboration_span_id(trace_id, namespace, record.task_id)
        elif record.attempts:
            span_id = attempt_span_id(trace_id, namespace, record.task_id, record.attempts[-1])
        else:
            return
        what = {
            "upbeat.link": "member",
            "upbeat.member": record.member,
            "upbeat.task.state": TaskState(record.state).name,
        }
        self._families.setdefault(key, []).append(Link(_context(TraceParent(trace_id, span_id)), what))
        if len(self._families) > FAMILIES_MAX:
            self._families.popitem(last=False)

    # Told by the door.

    def call_began(self, service: str, method: str, traceparent: str) -> CallSpan:
        """A unary call began; ``traceparent`` is what came beside it, or ""."""
        return CallSpan(self._tracer, service, method, read_traceparent(traceparent))

    # How a span comes to be.

    def _trace(self, namespace: str, spec: TaskSpec, record: TaskRecord) -> tuple[int, TraceParent | None]:
        """The trace of a task, and the span that everything of it hangs below."""
        given = read_traceparent(spec.traceparent) if spec.traceparent else None
        trace_id = given.trace_id if given is not None else trace_id_of(namespace, record)
        if not record.parent_id:
            return trace_id, given
        above = collaboration_span_id(trace_id, namespace, record.parent_id)
        if given is not None:
            return trace_id, TraceParent(trace_id, above, given.flags)
        # Nobody has decided yet: whoever is the first of the family does, and all others like it.
        return trace_id, TraceParent(trace_id, above, SAMPLED if self._samples(trace_id, None) else 0)

    def _samples(self, trace_id: int, parent: TraceParent | None) -> bool:
        """What the sampler says, and will say again: it goes by the trace and the parent."""
        context = _context_below(parent)
        result = self._sampler.should_sample(context, trace_id, "attempt", SpanKind.PRODUCER)
        return result.decision is Decision.RECORD_AND_SAMPLE

    def _attempt(self, namespace: str, spec: TaskSpec, record: TaskRecord, attempt: Attempt) -> None:
        trace_id, parent = self._trace(namespace, spec, record)
        if parent is not None and not parent.is_sampled:
            return
        outcome = AttemptOutcome(attempt.outcome)
        attributes = _attributes(namespace, spec, record)
        attributes |= {
            "messaging.operation.name": "attempt",
            "messaging.operation.type": "send",
            "messaging.destination.name": spec.type,
            "upbeat.attempt": attempt.attempt,
            "upbeat.lease.id": f"{lease_of(record.task_id, attempt.attempt):020x}",  # type: ignore[arg-type]
            "upbeat.agent.id": attempt.agent_id,
            "upbeat.outcome": outcome.name,
        }
        status = None
        if outcome in _FAILED:
            reason = attempt.error.reason if attempt.error is not None else outcome.name
            attributes["error.type"] = reason
            status = Status(StatusCode.ERROR, reason)
        links = []
        for past in record.attempts:
            if past.attempt == attempt.attempt - 1:
                before = attempt_span_id(trace_id, namespace, record.task_id, past)
                links.append(Link(_context(TraceParent(trace_id, before)), {"upbeat.link": "retry"}))
        span_id = attempt_span_id(trace_id, namespace, record.task_id, attempt)
        self._tell(
            (trace_id, span_id, parent),
            (_name_of(spec), SpanKind.PRODUCER, status),
            (attempt.start_ms, attempt.end_ms),
            attributes,
            links,
        )

    def _collaboration(self, namespace: str, spec: TaskSpec, record: TaskRecord) -> None:
        links = self._families.pop((namespace, record.task_id), [])
        trace_id, parent = self._trace(namespace, spec, record)
        if not record.start_ms or (parent is not None and not parent.is_sampled):
            return
        attributes = _attributes(namespace, spec, record)
        attributes["upbeat.task.state"] = TaskState(record.state).name
        status = None
        if record.state == TaskState.FAILED:
            reason = record.error.reason if record.error is not None else "FAILED"
            attributes["error.type"] = reason
            status = Status(StatusCode.ERROR, reason)
        span_id = collaboration_span_id(trace_id, namespace, record.task_id)
        self._tell(
            (trace_id, span_id, parent),
            (_name_of(spec), SpanKind.INTERNAL, status),
            (record.start_ms, record.end_ms),
            attributes,
            links,
        )

    def _tell(
        self,
        place: tuple[int, int, TraceParent | None],
        what: tuple[str, SpanKind, Status | None],
        times_ms: tuple[int, int],
        attributes: Mapping[str, AttributeValue],
        links: list[Link],
    ) -> None:
        trace_id, span_id, parent = place
        name, kind, status = what
        began_ms, ended_ms = times_ms
        self._ids.choose(trace_id if parent is None else 0, span_id)
        span = self._tracer.start_span(
            name,
            context=_context_below(parent),
            kind=kind,
            attributes=attributes,
            links=links,
            start_time=began_ms * 1_000_000,
        )
        if status is not None:
            span.set_status(status)
        span.end(ended_ms * 1_000_000)


def _name_of(spec: TaskSpec) -> str:
    if spec.collaboration is None:
        return f"attempt {spec.type}"
    mode = spec.collaboration.mode
    return f"collaboration {getattr(mode, 'name', '') or type(mode).__name__.lower()}"


def _attributes(namespace: str, spec: TaskSpec, record: TaskRecord) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "messaging.system": "upbeat",
        "messaging.message.id": f"{record.task_id:016x}",
        "upbeat.namespace": namespace,
        "upbeat.priority": spec.priority,
    }
    if record.parent_id:
        attributes["upbeat.parent_task.id"] = f"{record.parent_id:016x}"
        attributes["upbeat.member"] = record.member
    return attributes


def _context(of: TraceParent) -> SpanContext:
    return SpanContext(of.trace_id, of.span_id, is_remote=True, trace_flags=TraceFlags(of.flags))


def _context_below(parent: TraceParent | None) -> Context:
    """What a span with this parent begins in; never what happens to be current."""
    nothing = Context()
    return nothing if parent is None else set_span_in_context(NonRecordingSpan(_context(parent)), nothing)
