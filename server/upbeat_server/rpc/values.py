"""Reads payloads, durations, times and JSON pointers, wherever in a request they stand."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Payload
from upbeat_server.rpc.faults import is_ascii

if TYPE_CHECKING:
    from google.protobuf import struct_pb2
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    from upbeat.v1 import payload_pb2
    from upbeat_server.rpc.faults import Faults

DURATION_MS_MAX = 10 * 366 * 86_400_000
DURATION_WORDS = "10 years"
JSON_TYPE = "application/json"
POINTER_BYTES_MAX = 1_024

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*", re.DOTALL)
_encode_json = msgspec.json.encode


def read_payload(value: payload_pb2.Payload, field: str, faults: Faults) -> Payload:
    """A payload as bytes; JSON that was written by hand becomes bytes here, once."""
    content_type = value.content_type
    if content_type and not is_ascii(content_type, 255):
        faults.add(f"{field}.content_type", "must be at most 255 printable ASCII characters")
    data = value.data
    if data or not value.HasField("json"):
        return Payload(content_type, data)
    if content_type and content_type != JSON_TYPE and not content_type.endswith("+json"):
        faults.add(f"{field}.content_type", f"must be empty or {JSON_TYPE} where the body is json")
    try:
        data = read_json(value.json)
    except ValueError as error:
        faults.add(f"{field}.json", f"is not JSON: {error}")
        return Payload()
    return Payload(content_type or JSON_TYPE, data)


def read_content(value: payload_pb2.Payload, field: str, faults: Faults, bytes_max: int) -> Payload:
    """A payload that is handed to an agent, within the limit of an input."""
    payload = read_payload(value, field, faults)
    size = len(payload.data)
    if size > bytes_max:
        faults.add(
            field,
            f"{field.rpartition('.')[2]} has {size:,} bytes; the limit is {bytes_max:,}: "
            "store it elsewhere and submit a reference",
            reasons.TASK_TOO_LARGE,
        )
    return payload


def read_json(value: struct_pb2.Value) -> bytes:
    """A JSON value as bytes, the same for equal ones. Raises ValueError."""
    return _encode_json(_plain(value))


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


def pointer_fault(text: str) -> str:
    """What is wrong with a JSON pointer (RFC 6901), or ""."""
    if len(text.encode()) > POINTER_BYTES_MAX:
        return f"is longer than {POINTER_BYTES_MAX:,} bytes"
    if text and not text.startswith("/"):
        return "is no JSON pointer: begin it with a slash (/a/0/b), or leave it empty for the whole value"
    if _POINTER.fullmatch(text) is None:
        return "is no JSON pointer: write ~0 for a tilde and ~1 for a slash in a name"
    return ""
