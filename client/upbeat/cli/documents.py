"""Messages as JSON for programs: one document, or one line for each event.

The mapping is that of protobuf (so it equals what other gRPC tools print), with
snake_case names, full enum names and every plain field present, also where it
holds its default. Of payloads, what is JSON is written as ``json``, what is text
as ``text``; all other content stays base64 in ``data``.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from upbeat.v1.payload_pb2 import Payload

JSON_TYPE = "application/json"

# What JSON allows inside a string, but a terminal would act upon.
_UNSAFE = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")


def document(message: Message) -> dict[str, Any]:
    """``message`` as plain JSON values."""
    plain: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _show_payloads(message, plain)
    return plain


def dumps(value: Any, *, indent: int | None = None) -> str:
    """``value`` as JSON text that is safe to print: readable letters, no control characters."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def payload_value(payload: Payload) -> tuple[bool, Any]:
    """(True, the value) where a payload is JSON, else (False, None)."""
    if payload.content_type.partition(";")[0].strip().lower() != JSON_TYPE:
        return False, None
    try:
        return True, json.loads(payload.data)
    except (ValueError, RecursionError):
        return False, None


def _show_payloads(message: Message, plain: dict[str, Any]) -> None:
    """Replace ``data`` by ``json`` in every payload under ``message``."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        inner = plain[field.name]
        values: list[tuple[Any, Any]] = [(value, inner)]
        if isinstance(inner, list):
            values = list(zip(value, inner, strict=True))
        for part, shown in values:
            if isinstance(part, Payload):
                _show_payload(part, shown)
            elif isinstance(shown, dict):
                _show_payloads(part, shown)


def _show_payload(payload: Payload, shown: dict[str, Any]) -> None:
    is_json, value = payload_value(payload)
    if is_json:
        shown.pop("data", None)
        shown["json"] = value
    elif payload.content_type.startswith("text/"):
        with suppress(UnicodeDecodeError):
            shown["text"] = payload.data.decode()
            shown.pop("data", None)
