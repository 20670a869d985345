"""W3C trace context: what a traceparent says, and the ids of our own spans.

A traceparent that the standard does not allow is no reason to refuse work: it is
handed on as it is and stands for no parent. Ids are derived, never drawn: the span
of an attempt is known from what is stored of the attempt, so that the server that
hands it out and the one that sees it end, perhaps in another life, name the same
span, and nothing about it is kept in between.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from upbeat_server.engine.model import Attempt, TaskRecord

SAMPLED: Final = 0x01
_FLAGS_KNOWN: Final = 0x03  # Sampled; and that the trace id is random, which is still so below the parent.

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


class TraceParent(msgspec.Struct, frozen=True, gc=False):
    """A span of somebody's trace."""

    trace_id: int
    span_id: int
    flags: int = SAMPLED

    @property
    def is_sampled(self) -> bool:
        """Whether the one who made it records it."""
        return bool(self.flags & SAMPLED)

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags & _FLAGS_KNOWN:02x}"


def read_traceparent(text: str) -> TraceParent | None:
    """What it says; None for one that the standard says to ignore."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    version, trace, span, flags, rest = match.groups()
    # A later version may say more behind; the first one may not.
    if version == "ff" or (version == "00" and rest):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    return TraceParent(trace_id, span_id, int(flags, 16)) if trace_id and span_id else None


def trace_id_of(namespace: str, record: TaskRecord) -> int:
    """The trace of a task that nobody gave one; the same for a whole family of tasks."""
    root_id = record.root_id or record.task_id
    began_ms = record.submit_ms or record.create_ms
    # Task ids are those of one server only: the time tells two of them apart.
    return _hashed(f"trace {namespace} {root_id:x} {began_ms}", 16)


def attempt_span_id(trace_id: int, namespace: str, task_id: int, attempt: Attempt) -> int:
    """The span of an attempt. Its start is in it: after a restored backup a lease may come again."""
    return _hashed(
        f"attempt {trace_id:x} {namespace} {task_id:x} {attempt.attempt} {attempt.start_ms}",
        8,
    )


def collaboration_span_id(trace_id: int, namespace: str, task_id: int) -> int:
    """The span of a collaboration."""
    return _hashed(f"collaboration {trace_id:x} {namespace} {task_id:x}", 8)


def _hashed(text: str, size: int) -> int:
    # Zero is no id; the standard leaves it out and so do we.
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest()) or 1
