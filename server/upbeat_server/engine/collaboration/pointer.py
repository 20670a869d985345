"""JSON pointers (RFC 6901) into JSON text.

A pointer answers the text of what it points at, byte for byte as it was sent:
an integer of any size stays exact, and an item of a list is handed on as it came.
"""

from __future__ import annotations

from typing import Any

import msgspec

from upbeat_server.engine.collaboration.documents import Unreadable, decoded

_as_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_as_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_as_whole = msgspec.json.Decoder(msgspec.Raw).decode


def tokens(pointer: str) -> list[str]:
    """The steps of a pointer; none for the empty one. Raises Unreadable if it is malformed."""
    if not pointer:
        return []
    head, *steps = pointer.split("/")
    if head:
        raise Unreadable(f"cannot be searched: JSON pointer {pointer!r} does not begin with a slash")
    if any("~" in step.replace("~0", "").replace("~1", "") for step in steps):
        raise Unreadable(f"cannot be searched: ~ in JSON pointer {pointer!r} is neither ~0 nor ~1")
    return [step.replace("~1", "/").replace("~0", "~") for step in steps]


def text_at(document: bytes, pointer: str) -> bytes:
    """The JSON text that a pointer leads to. Raises Unreadable if there is none."""
    steps = tokens(pointer)
    decoded(document)  # Parts that are not walked through are JSON too.
    text = bytes(_as_whole(document))
    for step in steps:
        found = _step(text, step)
        if found is None:
            raise Unreadable(f"has nothing at JSON pointer {pointer!r}")
        text = found
    return text


def value_at(document: bytes, pointer: str) -> Any:
    """The value that a pointer leads to. Raises Unreadable if there is none."""
    return decoded(text_at(document, pointer))


def list_at(document: bytes, pointer: str, entries_max: int) -> list[bytes]:
    """The texts of the entries of the list that a pointer leads to. Raises Unreadable."""
    text = text_at(document, pointer)
    where = f"JSON pointer {pointer!r}" if pointer else "its root"
    if not text.startswith(b"["):
        raise Unreadable(f"is to have a list at {where}, and has {_kind(text)}")
    entries = [bytes(entry) for entry in _as_list(text)]
    if len(entries) > entries_max:
        raise Unreadable(f"has {len(entries):,} entries at {where}; the limit is {entries_max:,}: split it")
    return entries


def _step(text: bytes, step: str) -> bytes | None:
    if text.startswith(b"{"):
        found = _as_object(text).get(step)
        return None if found is None else bytes(found)
    if text.startswith(b"[") and step.isascii() and step.isdigit() and (step == "0" or step[0] != "0"):
        entries = _as_list(text)
        # Compared by length first: what has more digits than the list has entries is past its end.
        if len(step) <= len(str(len(entries))) and int(step) < len(entries):
            return bytes(entries[int(step)])
    return None


def _kind(text: bytes) -> str:
    return {b"{": "an object", b'"': "a string", b"n": "null", b"t": "true", b"f": "false"}.get(
        text[:1], "a number"
    )
