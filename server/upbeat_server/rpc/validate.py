"""Reads submissions: every bad field at once, with its limit and what to do about it.

What comes out is valid and has its defaults resolved; nothing behind the door
checks it again. Fields whose work is not built are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.events import Submission
from upbeat_server.engine.model import DEFAULT_RETRY, Payload, RetryPolicy, TaskSpec
from upbeat_server.rpc.faults import Faults, is_ascii, is_plain, is_reason, is_type, read_labels
from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.selector import compile_selector
from upbeat_server.store import codec

if TYPE_CHECKING:
    from google.protobuf import struct_pb2
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    from upbeat.v1 import payload_pb2, task_service_pb2, task_spec_pb2
    from upbeat_server.engine.model import Refusal

DURATION_MS_MAX = 10 * 366 * 86_400_000
DURATION_WORDS = "10 years"
REQUEST_ID_CHARS_MAX = 128
CAPABILITIES_MAX = 16
ATTEMPTS_MAX = 100
REASONS_MAX = 32
JSON_TYPE = "application/json"
_encode_json = msgspec.json.encode

Draft: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Any, Draft, Faults], None]


class SubmissionReader:
    """Reads submissions under the limits of this server."""

    def __init__(self, input_bytes_max: int) -> None:
        self._input_bytes_max = input_bytes_max
        self._readers: dict[int, Reader] = {**_READERS, 2: self._read_input}

    def read(
        self, request: task_service_pb2.SubmitTaskRequest, *, needs_request_id: bool = False
    ) -> Submission | Refusal:
        """The submission, or everything that is wrong with it."""
        faults = Faults()
        request_id = request.request_id
        if not is_ascii(request_id, REQUEST_ID_CHARS_MAX):
            faults.add("request_id", f"must be at most {REQUEST_ID_CHARS_MAX} printable ASCII characters")
        elif needs_request_id and not request_id:
            faults.add("request_id", "must be set on a stream: answers are matched by it")
        if not request.HasField("spec"):
            faults.add("spec", "must be set")
            return faults.refusal()
        spec = self.read_spec(request.spec, faults)
        if spec is None:
            return faults.refusal()
        spec_bytes = codec.encode_spec(spec)
        return Submission(
            0,
            spec,
            spec_bytes,
            codec.fingerprint(spec_bytes),
            request_id,
            compile_selector(spec.selector) if spec.selector else None,
        )

    def read_spec(self, message: task_spec_pb2.TaskSpec, faults: Faults) -> TaskSpec | None:
        """The spec; None when ``faults`` has any."""
        draft: Draft = {"type": ""}
        readers = self._readers
        for field, value in message.ListFields():
            readers[field.number](value, draft, faults)
        if not draft["type"] and not faults:
            faults.add("spec.type", "must be set: it says what is to be done")
        if faults:
            return None
        required = draft.get("required_capabilities")
        if required:
            draft["required_capabilities"] = tuple(sorted(set(required) - {draft["type"]}))
        return TaskSpec(**draft)

    def _read_input(self, value: payload_pb2.Payload, draft: Draft, faults: Faults) -> None:
        payload = read_payload(value, "spec.input", faults)
        size = len(payload.data)
        if size > self._input_bytes_max:
            faults.add(
                "spec.input",
                f"input has {size:,} bytes; the limit is {self._input_bytes_max:,}: "
                "store it elsewhere and submit a reference",
                reasons.TASK_TOO_LARGE,
            )
            return
        draft["input"] = payload


def read_payload(value: payload_pb2.Payload, field: str, faults: Faults) -> Payload:
    """A payload as bytes; JSON that was written by hand becomes bytes here, once."""
    content_type = value.content_type
    if content_type and not is_ascii(content_type, 255):
        faults.add(f"{field}.content_type", "must be at most 255 printable ASCII characters")
    if value.WhichOneof("body") != "json":
        return Payload(content_type, value.data)
    if content_type and content_type != JSON_TYPE and not content_type.endswith("+json"):
        faults.add(f"{field}.content_type", f"must be empty or {JSON_TYPE} where the body is json")
    try:
        data = _encode_json(_plain(value.json))
    except ValueError as error:
        faults.add(f"{field}.json", f"is not JSON: {error}")
        return Payload()
    return Payload(content_type or JSON_TYPE, data)


def _plain(value: struct_pb2.Value) -> Any:
    """The JSON value as plain objects; the parser has bounded its depth. Raises ValueError."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                raise ValueError("a number is not finite")
            return int(number) if number.is_integer() and abs(number) <= 1 << 53 else number
        case "bool_value":
            return value.bool_value
        case "null_value":
            return None
        case "struct_value":
            # Sorted: a repeated submission has to have the same bytes.
            return {name: _plain(inner) for name, inner in sorted(value.struct_value.fields.items())}
        case "list_value":
            return [_plain(inner) for inner in value.list_value.values]
        case _:
            raise ValueError("a value is unset")


def read_duration(value: Duration, field: str, faults: Faults, *, zero_allowed: bool = False) -> int:
    """Whole milliseconds, rounded up."""
    seconds, nanos = value.seconds, value.nanos
    if not -1_000_000_000 < nanos < 1_000_000_000 or seconds < 0 or nanos < 0:
        faults.add(field, f"must be a duration from 0 to {DURATION_WORDS}")
        return 0
    milliseconds = seconds * 1_000 + -(-nanos // 1_000_000)
    if milliseconds > DURATION_MS_MAX:
        faults.add(field, f"is longer than {DURATION_WORDS}")
    elif not milliseconds and not zero_allowed:
        faults.add(field, "must be longer than 0; leave it unset for the default")
    return milliseconds


def read_time(value: Timestamp, field: str, faults: Faults) -> int:
    """Milliseconds since 1970, rounded up; times before that are 0."""
    if not -62_135_596_800 <= value.seconds <= 253_402_300_799 or not 0 <= value.nanos < 1_000_000_000:
        faults.add(field, "must be a time from year 1 to 9999")
        return 0
    return max(value.seconds * 1_000 + -(-value.nanos // 1_000_000), 0)


def _read_type(value: str, draft: Draft, faults: Faults) -> None:
    if not is_type(value):
        faults.add(
            "spec.type",
            "must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or digit, without '..'",
        )
    draft["type"] = value


def _read_priority(value: int, draft: Draft, faults: Faults) -> None:
    if not 1 <= value <= 4:
        names = "LOW (1), NORMAL (2), HIGH (3), CRITICAL (4)"
        faults.add("spec.priority", f"{value} is no Priority: use {names}")
    draft["priority"] = value


def _read_required(value: Any, draft: Draft, faults: Faults) -> None:
    if len(value) > CAPABILITIES_MAX:
        faults.add(
            "spec.required_capabilities", f"has {len(value):,} entries; the limit is {CAPABILITIES_MAX}"
        )
        return
    for number, capability in enumerate(value):
        if not is_type(capability):
            faults.add(
                f"spec.required_capabilities[{number}]",
                "must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or digit",
            )
    draft["required_capabilities"] = tuple(value)


def _read_selector(value: str, draft: Draft, faults: Faults) -> None:
    try:
        compile_selector(value)
    except Refused as error:
        faults.add_refusal(error.refusal)
    draft["selector"] = value


def _read_fairness_key(value: str, draft: Draft, faults: Faults) -> None:
    if len(value) > 128 or not value.isprintable():
        faults.add("spec.fairness_key", "must be at most 128 characters without control characters")
    draft["fairness_key"] = value


def _read_fairness_weight(value: float, draft: Draft, faults: Faults) -> None:
    if not 0.01 <= value <= 1_000:  # Not a number fails, too.
        faults.add("spec.fairness_weight", "must be from 0.01 to 1,000; 0 means 1")
    draft["fairness_weight"] = value


def _read_labels(value: Any, draft: Draft, faults: Faults) -> None:
    draft["labels"] = read_labels(value, "spec.labels", faults)


def _read_size_hint(value: float, draft: Draft, faults: Faults) -> None:
    if not (math.isfinite(value) and value >= 0):
        faults.add("spec.size_hint", "must be a finite number that is not negative; 0 means unknown")
    draft["size_hint"] = value


def _timeout_reader(name: str) -> Reader:
    field, key = f"spec.{name}", f"{name}_ms"

    def read(value: Duration, draft: Draft, faults: Faults) -> None:
        draft[key] = read_duration(value, field, faults)

    return read


def _read_not_before(value: Timestamp, draft: Draft, faults: Faults) -> None:
    draft["not_before_ms"] = read_time(value, "spec.not_before_time", faults)


def _read_side_effects(value: int, draft: Draft, faults: Faults) -> None:
    if not 1 <= value <= 3:
        faults.add(
            "spec.side_effects", f"{value} is no SideEffects: use IDEMPOTENT (1), NONE (2), UNSAFE (3)"
        )
    draft["side_effects"] = value


def _read_dedup_key(value: str, draft: Draft, faults: Faults) -> None:
    if not is_plain(value, 255):
        faults.add("spec.dedup_key", "must be at most 255 bytes without control characters")
    draft["dedup_key"] = value


def _read_traceparent(value: str, draft: Draft, faults: Faults) -> None:
    if not is_ascii(value, 255):
        faults.add("spec.traceparent", "must be at most 255 printable ASCII characters")
    draft["traceparent"] = value


def _read_unsupported(name: str) -> Reader:
    def read(_value: object, _draft: Draft, faults: Faults) -> None:
        faults.add(f"spec.{name}", "is not built yet: leave it unset", reasons.UNSUPPORTED_FIELD)

    return read


def _read_retry(value: task_spec_pb2.RetryPolicy, draft: Draft, faults: Faults) -> None:
    default = DEFAULT_RETRY
    attempts = value.max_attempts
    if not 0 <= attempts <= ATTEMPTS_MAX:
        faults.add("spec.retry.max_attempts", f"must be from 1 to {ATTEMPTS_MAX}; 0 means 3")
    multiplier = value.multiplier
    if multiplier and not 1 <= multiplier <= 10:
        faults.add("spec.retry.multiplier", "must be from 1 to 10; 0 means 2")
    first_ms, last_ms = default.initial_backoff_ms, default.max_backoff_ms
    if value.HasField("initial_backoff"):
        field = "spec.retry.initial_backoff"
        first_ms = read_duration(value.initial_backoff, field, faults, zero_allowed=True)
    if value.HasField("max_backoff"):
        field = "spec.retry.max_backoff"
        last_ms = read_duration(value.max_backoff, field, faults, zero_allowed=True)
        if last_ms < first_ms and value.HasField("initial_backoff"):
            faults.add(field, "is shorter than initial_backoff")
    reasons_given = value.non_retryable_reasons
    if len(reasons_given) > REASONS_MAX:
        faults.add(
            "spec.retry.non_retryable_reasons",
            f"has {len(reasons_given):,} entries; the limit is {REASONS_MAX}",
        )
    elif not all(is_reason(reason) for reason in reasons_given):
        faults.add("spec.retry.non_retryable_reasons", "each must be 1 to 63 characters of [A-Za-z0-9_.-]")
    draft["retry"] = RetryPolicy(
        attempts or default.max_attempts,
        first_ms,
        multiplier or default.multiplier,
        last_ms,
        tuple(sorted(set(reasons_given))),
    )


_READERS: dict[int, Reader] = {  # By field number of TaskSpec.
    1: _read_type,
    3: _read_priority,
    4: _read_required,
    5: _read_selector,
    6: _read_fairness_key,
    7: _read_fairness_weight,
    8: _read_labels,
    9: _read_size_hint,
    10: _timeout_reader("queue_timeout"),
    11: _timeout_reader("attempt_timeout"),
    12: _timeout_reader("total_timeout"),
    13: _read_retry,
    14: _read_not_before,
    15: _read_side_effects,
    16: _read_dedup_key,
    17: _read_unsupported("limits"),
    18: _read_traceparent,
    19: _read_unsupported("collaboration"),
    20: _read_unsupported("name"),
    21: _read_unsupported("context"),
}
