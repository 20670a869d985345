"""Messages as protobuf JSON: writers compiled from the descriptors, one for each type.

What is not set is left out, 64-bit integers are strings, enums have their full names. A
payload of JSON shows as ``json``, exactly as its bytes are; any other as base64. Bytes
that only claim to be JSON are shown as bytes.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf.json_format import MessageToDict

from upbeat_server.engine.collaboration.documents import is_json_type
from upbeat_server.http.message_reader import PAYLOAD, STRINGS, VALUE
from upbeat_server.http.scalars import FLOATS, WIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

PORTION: Final = 50
"""Items of a list that are written without a break; tasks take 50 us each and more."""

encode_json = msgspec.json.encode


class MessageWriter:
    """Writes one type of message."""

    def __init__(self, descriptor: Descriptor, known: dict[str, MessageWriter]) -> None:
        known[descriptor.full_name] = self
        self._fields = {
            field.number: (field.camelcase_name, _writer(field, known)) for field in descriptor.fields
        }

    def tree(self, message: Message) -> dict[str, Any]:
        """The message as plain objects, for ``encode_json``."""
        fields = self._fields
        tree = {}
        for field, value in message.ListFields():
            name, write = fields[field.number]
            tree[name] = write(value)
        return tree

    async def write(self, message: Message) -> bytes:
        """The message as JSON; long lists in portions, so that others are served meanwhile."""
        tree = {}
        for field, value in message.ListFields():
            name, write = self._fields[field.number]
            if field.is_repeated and len(value) > PORTION and not isinstance(value, dict):
                whole: list[Any] = []
                for start in range(0, len(value), PORTION):
                    whole += write(value[start : start + PORTION])
                    await asyncio.sleep(0)
                tree[name] = whole
            else:
                tree[name] = write(value)
        return encode_json(tree)


class PayloadWriter(MessageWriter):
    """Writes payloads."""

    def tree(self, message: Any) -> dict[str, Any]:
        """JSON as it is, other bytes as base64."""
        tree: dict[str, Any] = {}
        if message.content_type:
            tree["contentType"] = message.content_type
        data = message.data
        if data and is_json_type(message.content_type) and _is_json(data):
            tree["json"] = msgspec.Raw(data)
        elif data:
            tree["data"] = data
        return tree


def writer_of(descriptor: Descriptor, known: dict[str, MessageWriter]) -> MessageWriter:
    """The writer of a type; ``known`` holds those that are there, by full name."""
    kind = PayloadWriter if descriptor.full_name == PAYLOAD else MessageWriter
    return known.get(descriptor.full_name) or kind(descriptor, known)


def _writer(field: FieldDescriptor, known: dict[str, MessageWriter]) -> Callable[[Any], Any]:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        write_value = _one(message.fields_by_name["value"], known)
        if write_value is None:
            return dict
        return lambda entries: {name: write_value(value) for name, value in entries.items()}
    write = _one(field, known)
    if field.is_repeated:
        if write is None:
            return list
        return lambda values: [write(value) for value in values]
    return write or _same


def _one(field: FieldDescriptor, known: dict[str, MessageWriter]) -> Callable[[Any], Any] | None:
    """What writes one value of a field; None for values that are JSON as they are."""
    message = field.message_type
    if message is not None:
        if message.full_name in STRINGS:
            return _json_string
        return MessageToDict if message.full_name == VALUE else writer_of(message, known).tree
    if field.enum_type is not None:
        return _enum_writer(field.enum_type)
    if field.cpp_type in WIDE:
        return str
    return _finite if field.cpp_type in FLOATS else None


def _enum_writer(enum: EnumDescriptor) -> Callable[[int], str | int]:
    names = {value.number: value.name for value in enum.values}
    return lambda number: names.get(number, number)


def _finite(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _json_string(message: Any) -> str:
    text: str = message.ToJsonString()
    return text


def _same(value: Any) -> Any:
    return value


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True
