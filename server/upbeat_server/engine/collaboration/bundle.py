"""Outputs of several children put together as one JSON payload.

An output that is JSON is put in as it came, a text as a string, any other as
``{"content_type": ..., "base64": ...}``; one that is missing as null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.collaboration.documents import (
    Unreadable,
    decoded,
    encoded,
    is_json_type,
    json_payload,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.model import Payload

NULL = b"null"
TEXT = "text/"


def as_json(output: Payload) -> bytes:
    """One output as JSON text."""
    if is_json_type(output.content_type):
        try:
            decoded(output.data)
            return output.data
        except Unreadable:  # It calls itself JSON and is not: nothing of it is lost all the same.
            pass
    if output.content_type.startswith(TEXT):
        try:
            return encoded(output.data.decode())
        except UnicodeDecodeError:  # In another encoding, or no text.
            pass
    return encoded({"content_type": output.content_type, "base64": output.data})


def listed(texts: Iterable[bytes]) -> Payload:
    """A JSON list of JSON texts."""
    return json_payload(msgspec.json.encode([msgspec.Raw(text) for text in texts]))


def named(texts: Iterable[tuple[str, bytes]]) -> Payload:
    """A JSON object of JSON texts by name."""
    return json_payload(msgspec.json.encode({name: msgspec.Raw(text) for name, text in texts}))
