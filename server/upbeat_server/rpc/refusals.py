"""The one place that turns a refusal into what a caller sees.

A status travels in HTTP/2 trailers, which clients bound (8 KiB and less): a
status that is too large is no status at all. So everything here is cut to
``DETAIL_BYTES_MAX`` in all, the changing parts of a text are made printable,
and what was cut is said. Bytes count, not characters: a message travels twice,
and once with three characters for each byte that is not ASCII.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from upbeat.v1 import refusal_pb2
from upbeat_server.engine import reasons
from upbeat_server.rpc.faults import cut_bytes

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from upbeat_server.engine.model import Refusal

DOMAIN: Final = "upbeat"
MESSAGE_BYTES_MAX: Final = 512
DETAIL_BYTES_MAX: Final = 2_048
"""Of all violations together, and of all metadata together."""
NAME_BYTES_MAX: Final = 256
"""Of the path of a field; four collaborations deep it has up to 250."""

_Code = grpc.StatusCode

CODES: Final[dict[str, grpc.StatusCode]] = {
    reasons.MALFORMED_MESSAGE: _Code.INVALID_ARGUMENT,
    reasons.INVALID_FIELD: _Code.INVALID_ARGUMENT,
    reasons.UNSUPPORTED_FIELD: _Code.INVALID_ARGUMENT,
    reasons.TASK_TOO_LARGE: _Code.INVALID_ARGUMENT,
    reasons.INVALID_SELECTOR: _Code.INVALID_ARGUMENT,
    reasons.INVALID_PAGE_TOKEN: _Code.INVALID_ARGUMENT,
    reasons.NAMESPACE_MISMATCH: _Code.INVALID_ARGUMENT,
    reasons.HELLO_REPEATED: _Code.INVALID_ARGUMENT,
    reasons.TASK_NOT_FOUND: _Code.NOT_FOUND,
    reasons.AGENT_NOT_FOUND: _Code.NOT_FOUND,
    reasons.SUBSCRIBER_NOT_FOUND: _Code.NOT_FOUND,
    reasons.REQUEST_ID_REUSED: _Code.ALREADY_EXISTS,
    reasons.DUPLICATE_TASK: _Code.ALREADY_EXISTS,
    reasons.TASK_FINISHED: _Code.FAILED_PRECONDITION,
    reasons.HELLO_REQUIRED: _Code.FAILED_PRECONDITION,
    reasons.SAMPLE_DISABLED: _Code.FAILED_PRECONDITION,
    reasons.ITEMS_CLOSED: _Code.FAILED_PRECONDITION,
    reasons.NOT_GRADABLE: _Code.FAILED_PRECONDITION,
    reasons.NOT_RETRYABLE: _Code.FAILED_PRECONDITION,
    reasons.NOT_A_MEMBER: _Code.FAILED_PRECONDITION,
    reasons.QUEUE_FULL: _Code.RESOURCE_EXHAUSTED,
    reasons.QUEUE_BYTES_FULL: _Code.RESOURCE_EXHAUSTED,
    reasons.SIGNATURES_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.FAIRNESS_KEYS_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.LIMIT_KEYS_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.PAUSED_TYPES_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.AGENTS_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.NAMESPACES_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.SERVER_BUSY: _Code.RESOURCE_EXHAUSTED,
    reasons.STREAMS_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.MESSAGE_TOO_LARGE: _Code.RESOURCE_EXHAUSTED,
    reasons.WINDOW_EXCEEDED: _Code.RESOURCE_EXHAUSTED,
    reasons.ITEMS_FULL: _Code.RESOURCE_EXHAUSTED,
    reasons.TOPIC_FULL: _Code.RESOURCE_EXHAUSTED,
    reasons.TOPICS_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.SUBSCRIBERS_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    reasons.TOKEN_INVALID: _Code.UNAUTHENTICATED,
    reasons.ROLE_INSUFFICIENT: _Code.PERMISSION_DENIED,
    reasons.DRAINING: _Code.UNAVAILABLE,
    reasons.STORE_UNAVAILABLE: _Code.UNAVAILABLE,
    reasons.FENCED: _Code.ABORTED,
    reasons.SILENT: _Code.ABORTED,
    reasons.SLOW_READER: _Code.ABORTED,
    reasons.REVISION_OUT_OF_RANGE: _Code.OUT_OF_RANGE,
    reasons.NOT_BUILT: _Code.UNIMPLEMENTED,
    reasons.INTERNAL: _Code.INTERNAL,
    reasons.CALL_CANCELLED: _Code.CANCELLED,
    # Errors of tasks and attempts. No call answers with them; whoever must say them as a status
    # (a gateway, a client that waits for a result) says them alike.
    reasons.QUEUE_TIMEOUT: _Code.DEADLINE_EXCEEDED,
    reasons.ATTEMPT_TIMEOUT: _Code.DEADLINE_EXCEEDED,
    reasons.TOTAL_TIMEOUT: _Code.DEADLINE_EXCEEDED,
    reasons.LEASE_LOST: _Code.ABORTED,
    reasons.REJECTED_BY_AGENT: _Code.ABORTED,
    reasons.NOT_ACKNOWLEDGED: _Code.ABORTED,
    reasons.OUTPUT_TOO_LARGE: _Code.INVALID_ARGUMENT,
    reasons.HANDLER_FAILED: _Code.ABORTED,
    reasons.CANCELLED: _Code.CANCELLED,
    reasons.NO_HANDLER: _Code.FAILED_PRECONDITION,
    reasons.INVALID_RESULT: _Code.INVALID_ARGUMENT,
    reasons.AGENT_LEFT: _Code.ABORTED,
    reasons.ATTEMPTS_EXHAUSTED: _Code.ABORTED,
    reasons.SUPERSEDED: _Code.CANCELLED,
    reasons.ABSTAINED: _Code.ABORTED,
    reasons.STEP_FAILED: _Code.ABORTED,
    reasons.NO_CONSENSUS: _Code.ABORTED,
    reasons.NO_WINNER: _Code.ABORTED,
    reasons.INFEASIBLE: _Code.FAILED_PRECONDITION,
    reasons.BUDGET_EXCEEDED: _Code.RESOURCE_EXHAUSTED,
    reasons.INVALID_FORM: _Code.INVALID_ARGUMENT,
    reasons.MODE_FAILED: _Code.ABORTED,
    reasons.SUBSCRIBER_FORGOTTEN: _Code.ABORTED,
}


def code_of(refusal: Refusal) -> grpc.StatusCode:
    """The status code of a refusal."""
    return CODES.get(refusal.reason, _Code.INTERNAL)


def status_of(refusal: Refusal) -> status_pb2.Status:
    """The refusal as a rich status."""
    code = code_of(refusal)
    message = printable(refusal.message, MESSAGE_BYTES_MAX)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=refusal.reason, domain=DOMAIN, metadata=dict(_fit(list(refusal.metadata.items())))
        )
    ]
    if refusal.violations:
        bad_request = error_details_pb2.BadRequest()
        for field, description in _fit(refusal.violations):
            bad_request.field_violations.add(field=field, description=description)
        details.append(bad_request)
    if code is _Code.RESOURCE_EXHAUSTED:
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=f"{DOMAIN}:{refusal.reason}", description=message)
        details.append(quota)
    if refusal.retry_ms:
        details.append(error_details_pb2.RetryInfo(retry_delay=_duration(refusal.retry_ms)))
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def refusal_message(refusal: Refusal) -> refusal_pb2.Refusal:
    """The refusal as it stands inside a batch or a stream."""
    message = refusal_pb2.Refusal(
        code=code_of(refusal).value[0],
        reason=refusal.reason,
        message=printable(refusal.message, MESSAGE_BYTES_MAX),
        metadata=dict(_fit(list(refusal.metadata.items()))),
    )
    for field, description in _fit(refusal.violations):
        message.violations.add(field=field, description=description)
    if refusal.retry_ms:
        message.retry_delay.CopyFrom(_duration(refusal.retry_ms))
    return message


def printable(text: str, bytes_max: int) -> str:
    """The text with everything that could move a cursor or a line escaped, and cut."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text.encode()) <= bytes_max else cut_bytes(text, bytes_max - 3) + "..."


def _fit(pairs: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """As many pairs as may travel; the last one says how many were left out."""
    kept: list[tuple[str, str]] = []
    room = DETAIL_BYTES_MAX
    for name, text in pairs:
        pair = printable(name, NAME_BYTES_MAX), printable(text, MESSAGE_BYTES_MAX)
        room -= len(pair[0].encode()) + len(pair[1].encode()) + 8
        if room < 0:
            kept.append(("...", f"and {len(pairs) - len(kept)} more"))
            break
        kept.append(pair)
    return kept


def _duration(milliseconds: int) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromMilliseconds(milliseconds)
    return duration
