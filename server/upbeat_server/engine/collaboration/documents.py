"""Payloads as JSON: whether one is, what it says, and when two say the same.

Everything here is total over what agents may send: what cannot be read raises
``Unreadable`` with words for a person, and nothing else. Whether something is JSON
must not depend on how deep the stack happens to be when it is read, because the
answer decides outcomes that a restart repeats; so nesting has a bound of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec

from upbeat_server.engine.model import Payload

JSON_TYPE = "application/json"
DEPTH_MAX = 100
"""Lists and objects inside each other."""

NUMBER_MAX = 1e290
"""Magnitude of a number that is computed with: a thousand of them, weighed, still have a sum."""

_EXACT_MAX = 1e21  # Up to here a float without a fraction is written as the integer that it is.

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


class Unreadable(Exception):
    """Something is not where or what it was to be. Its words complete "the output ...": "is no JSON: ..."."""


def is_json_type(content_type: str) -> bool:
    """Whether a content type announces JSON; its parameters do not matter."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence in {JSON_TYPE, "text/json"} or essence.endswith("+json")


def json_payload(text: bytes) -> Payload:
    """JSON text as a payload."""
    return Payload(JSON_TYPE, text)


def decoded(text: bytes) -> Any:
    """The value of a JSON text; integers of any size stay exact. Raises Unreadable."""
    try:
        value = _decode(text)
    except RecursionError:
        raise Unreadable(f"is nested deeper than {DEPTH_MAX} lists and objects: flatten it") from None
    except ValueError as error:  # Malformed, a number out of range, or no UTF-8.
        raise Unreadable(f"is no JSON: {error}") from None
    if text.count(b"[") + text.count(b"{") > DEPTH_MAX and _is_deep(value):
        raise Unreadable(f"is nested deeper than {DEPTH_MAX} lists and objects: flatten it")
    return value


def encoded(value: Any) -> bytes:
    """A value as JSON, with sorted keys."""
    return _encode(value)


def canonical(value: Any) -> bytes:
    """The same bytes for the same JSON value: sorted keys, no spaces, and 1 for 1.0 and -0 alike."""
    return _encode(_plain(value))


def is_number(value: Any) -> bool:
    """Whether a decoded value is a number that can be computed with; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= NUMBER_MAX


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT_MAX else value
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [
            entry
            for parent in level
            if isinstance(parent, list | dict)
            for entry in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True
