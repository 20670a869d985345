"""Protobuf JSON as messages, strictly: readers compiled from the descriptors, one for each type.

Every bad field is told, by its path in the contract's own names (``spec.retry.max_attempts``). A name that no
field has is one of them: a typo must not silently mean a default. Names are read as protobuf
JSON writes them and as the contract does, enums by full and by short names.

A Payload's ``json`` does not go through ``google.protobuf.Value``, which holds doubles
only: what stands in the request becomes its bytes, integers exact.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf import json_format

from upbeat_server.engine.collaboration.documents import is_json_type
from upbeat_server.http.scalars import Unfit, kind_of, scalar_reader, text_reader
from upbeat_server.rpc.values import JSON_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

    from upbeat_server.rpc.faults import Faults

PAYLOAD: Final = "upbeat.v1.Payload"
VALUE: Final = "google.protobuf.Value"


class WrittenString(msgspec.Struct, frozen=True):
    """How a message is written that is one string in JSON."""

    pattern: str
    words: str


STRINGS: Final = {
    "google.protobuf.Duration": WrittenString(
        r"-?[0-9]{1,12}(\.[0-9]{1,9})?s", 'a duration in seconds, such as "1.5s"'
    ),
    "google.protobuf.Timestamp": WrittenString(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})",
        'a time, such as "2026-01-31T12:00:00Z"',
    ),
}


class MessageReader:
    """Reads one type of message."""

    def __init__(self, descriptor: Descriptor, known: dict[str, MessageReader]) -> None:
        known[descriptor.full_name] = self
        self.descriptor = descriptor
        fields = [FieldReader(field, known) for field in descriptor.fields]
        self.fields = {name: field for field in fields for name in (field.json_name, field.name)}

    def fill(self, message: Message, tree: Any, path: str, faults: Faults) -> None:
        """Fill an empty message; what is wrong is added to the faults."""
        if not isinstance(tree, dict):
            faults.add(path or "body", f"must be an object, not {kind_of(tree)}")
            return
        came: dict[str, str] = {}  # By the field, or by the choice of which only one may be set.
        for name, value in tree.items():
            field = self.fields.get(name)
            if field is None:
                faults.add(_join(path, name), self._no_field(name))
            elif value is None and not field.takes_null:
                faults.add(_join(path, field.name), "must not be null: leave it out")
            else:
                before = came.setdefault(field.oneof or field.name, name)
                if before != name:
                    faults.add(_join(path, field.name), f"cannot stand beside {before!r}: give one of them")
                else:
                    field.fill(message, value, _join(path, field.name), faults)

    def _no_field(self, name: str) -> str:
        words = f"is no field of {self.descriptor.name}"
        near = difflib.get_close_matches(name[:64], self.fields, n=1)
        return f"{words}: do you mean {near[0]!r}?" if near else words


def reader_of(descriptor: Descriptor, known: dict[str, MessageReader]) -> MessageReader:
    """The reader of a type; ``known`` holds those that are there, by full name."""
    kind = PayloadReader if descriptor.full_name == PAYLOAD else MessageReader
    return kind(descriptor, known)


class PayloadReader(MessageReader):
    """Reads payloads, whose content may stand there as JSON."""

    def fill(self, message: Any, tree: Any, path: str, faults: Faults) -> None:
        """Fill an empty payload, its content type included."""
        super().fill(message, tree, path, faults)
        if not isinstance(tree, dict) or "json" not in tree:
            return
        if not message.content_type:
            message.content_type = JSON_TYPE
        elif not is_json_type(message.content_type):
            faults.add(_join(path, "content_type"), f"must be empty or {JSON_TYPE} where the body is json")


class FieldReader:
    """Reads the values of one field."""

    def __init__(self, field: FieldDescriptor, known: dict[str, MessageReader]) -> None:
        self.name = field.name
        self.json_name = field.camelcase_name
        self.oneof = field.containing_oneof.name if field.containing_oneof is not None else ""
        self.is_repeated = field.is_repeated
        self.of_text = text_reader(field)
        self.takes_null = False
        self.child: MessageReader | None = None  # Of a message that is written as an object.
        self.read: Callable[[Any], Any] | None = None  # Of what is one value in JSON and in the message.
        self.fill: Callable[[Any, Any, str, Faults], None]
        message = field.message_type
        self._written = None if message is None else STRINGS.get(message.full_name)
        if message is None:
            self.read = scalar_reader(field)
            self.fill = self._fill_list if self.is_repeated else self._fill_scalar
        elif message.GetOptions().map_entry:
            self._key = scalar_reader(message.fields_by_name["key"])
            self._value = FieldReader(message.fields_by_name["value"], known)
            self.fill = self._fill_map
        elif message.full_name == VALUE:
            self.takes_null = True
            owner = field.containing_type
            in_payload = owner is not None and owner.full_name == PAYLOAD
            self.fill = _fill_payload_json if in_payload else self._fill_value
        else:
            if self._written is None:
                self.child = known.get(message.full_name) or reader_of(message, known)
            self.fill = self._fill_messages if self.is_repeated else self._fill_message

    @property
    def is_text(self) -> bool:
        """Whether one value of it can be written as a text."""
        return self.read is not None or self._written is not None

    def fill_one(self, message: Message, value: Any, path: str, faults: Faults) -> None:
        """Fill the message that one value of this field is."""
        if self.child is not None:
            self.child.fill(message, value, path, faults)
            return
        written = self._written
        if written is None:  # A Value, which no list and no map of the contract holds.
            raise TypeError(self.name)
        if isinstance(value, str) and re.fullmatch(written.pattern, value):
            with contextlib.suppress(ValueError):  # The 31st of June.
                message.FromJsonString(value)  # type: ignore[attr-defined]
                return
        faults.add(path, f"must be {written.words}")

    def _fill_scalar(self, message: Message, value: Any, path: str, faults: Faults) -> None:
        try:
            setattr(message, self.name, self.read(value))  # type: ignore[misc]
        except Unfit as error:
            faults.add(path, str(error))

    def _fill_list(self, message: Message, value: Any, path: str, faults: Faults) -> None:
        values = []
        for at, inner in _items(value, path, faults):
            try:
                values.append(self.read(inner))  # type: ignore[misc]
            except Unfit as error:
                faults.add(at, str(error))
        getattr(message, self.name).extend(values)

    def _fill_message(self, message: Message, value: Any, path: str, faults: Faults) -> None:
        inner = getattr(message, self.name)
        inner.SetInParent()
        self.fill_one(inner, value, path, faults)

    def _fill_messages(self, message: Message, value: Any, path: str, faults: Faults) -> None:
        added = getattr(message, self.name).add
        for at, inner in _items(value, path, faults):
            self.fill_one(added(), inner, at, faults)

    def _fill_map(self, message: Message, value: Any, path: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            faults.add(path, f"must be an object, not {kind_of(value)}")
            return
        entries = getattr(message, self.name)
        for name, inner in value.items():
            at = f"{path}[{name!r}]"
            try:
                key = self._key(name)
                if self._value.read is not None:
                    entries[key] = self._value.read(inner)
                else:
                    self._value.fill_one(entries[key], inner, at, faults)
            except Unfit as error:
                faults.add(at, str(error))

    def _fill_value(self, message: Message, value: Any, path: str, faults: Faults) -> None:
        try:
            json_format.ParseDict(value, getattr(message, self.name))
        except (json_format.ParseError, ValueError) as error:
            faults.add(path, f"cannot be taken: {error}")


def _fill_payload_json(payload: Any, value: Any, path: str, faults: Faults) -> None:
    """JSON that was written by hand, as the bytes that an agent gets; the same for equal values."""
    try:
        payload.data = msgspec.json.encode(value, order="sorted")
    except (UnicodeEncodeError, RecursionError):
        faults.add(path, "has half of a surrogate pair or too many levels")


def _items(value: Any, path: str, faults: Faults) -> list[tuple[str, Any]]:
    if not isinstance(value, list):
        faults.add(path, f"must be a list, not {kind_of(value)}")
        return []
    return [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
