"""Plain values as people write them, made into a TaskSpec of the contract.

Keys are the contract's names, in snake_case or as protobuf's JSON has them; enums
their short or full names in either case; durations `30s`, `5m` or seconds. A
payload is the JSON value itself, or an object with `content_type` and one of
`json`, `text` and `data` (base64), which is how answers show it. A step of which
there is nothing to say but its type may be that text. Every fault is told, not
only the first, with its path and the key that was probably meant.
"""

from __future__ import annotations

import base64
import difflib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from upbeat.cli.documents import JSON_TYPE
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.inputs import TEXT_TYPE, duration, enum_number
from upbeat.spec import EnumNames
from upbeat.v1.task_spec_pb2 import TaskSpec

_INTEGERS = frozenset((FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64))
_BODIES = frozenset(("json", "text", "data"))
_CONTENT_TYPE = frozenset(("content_type", "contentType"))


def spec_of(document: Any, where: str) -> TaskSpec:
    """The spec that a document describes; raises Failure with every fault, `where` before it."""
    reader = SpecReader()
    spec = TaskSpec()
    try:
        reader.read(spec, document, "")
    except RecursionError:
        reader.faults.append(("", "nested too deeply, or within itself"))
    if not reader.faults:
        return spec
    count = len(reader.faults)
    raise Failure(
        ExitCode.USAGE,
        f"{where} is no task: {count} fault{'s' if count > 1 else ''}",
        violations=tuple((path or "(all of it)", words) for path, words in reader.faults),
        remedy="the keys are the fields of TaskSpec in the contract",
    )


class SpecReader:
    """Reads one document; what is wrong with it gathers in ``faults`` as (path, what)."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []
        self._readers: dict[str, Callable[[Any, Any, str], None]] = {
            "google.protobuf.Duration": self._duration,
            "google.protobuf.Timestamp": self._timestamp,
            "google.protobuf.Value": self._value,
            "upbeat.v1.Payload": self._payload,
        }

    def read(self, message: Message, value: Any, path: str) -> None:
        """Fill a message."""
        own = self._readers.get(message.DESCRIPTOR.full_name)
        if own is not None:
            own(message, value, path)
            return
        if isinstance(message, TaskSpec) and isinstance(value, str):
            message.type = value
            return
        if not isinstance(value, dict):
            self._misfit(path, value, "an object")
            return
        message.SetInParent()
        chosen: defaultdict[str, list[str]] = defaultdict(list)
        for field, item, inner in self._fields(message, value, path):
            if field.containing_oneof is not None:
                chosen[field.containing_oneof.name].append(field.name)
            self._set(message, field, item, inner)
        for names in chosen.values():
            if len(names) > 1:  # The last one would win in silence.
                self._fault(path, f"{' and '.join(names)}: choose one of them")

    def _fields(
        self, message: Message, value: dict[Any, Any], path: str
    ) -> Iterator[tuple[FieldDescriptor, Any, str]]:
        """The fields that are given, with values and paths. As in protobuf's JSON, null is not given."""
        fields: list[Any] = list(message.DESCRIPTOR.fields)
        seen: set[str] = set()
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            field = next((each for each in fields if key in (each.name, each.json_name)), None)
            if field is None:
                self._fault(inner, _unknown(str(key), [each.name for each in fields]))
                continue
            if field.name in seen:
                self._fault(inner, f"{field.name} is given twice, in two spellings")
            seen.add(field.name)
            if item is not None:
                yield field, item, inner

    def _set(self, message: Message, field: FieldDescriptor, value: Any, path: str) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._texts(getattr(message, field.name), value, path)
        elif not field.is_repeated:
            self._set_one(message, field, value, path)
        elif not isinstance(value, list):
            self._misfit(path, value, "a list")
        else:
            items = getattr(message, field.name)
            for index, item in enumerate(value):
                inner = f"{path}[{index}]"
                if field.message_type is not None:
                    self.read(items.add(), item, inner)
                elif field.full_name == "upbeat.v1.Consensus.choices" and not isinstance(item, str):
                    items.append(json.dumps(item, ensure_ascii=False, separators=(",", ":")))
                elif (scalar := self._scalar(field, item, inner)) is not None:
                    items.append(scalar)

    def _set_one(self, message: Message, field: FieldDescriptor, value: Any, path: str) -> None:
        if field.message_type is not None:
            self.read(getattr(message, field.name), value, path)
        elif (scalar := self._scalar(field, value, path)) is not None:
            try:
                setattr(message, field.name, scalar)
            except (ValueError, TypeError):
                self._fault(path, f"{value!r} is out of range")

    def _scalar(self, field: FieldDescriptor, value: Any, path: str) -> Any:
        """The value of a plain field; None after a fault."""
        if field.enum_type is not None:
            return self._enum(field, value, path)
        kind = field.cpp_type
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind in _INTEGERS:
            if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value):
                return int(value)  # How protobuf's JSON writes 64 bits.
            is_whole = is_number and (isinstance(value, int) or value.is_integer())
            return int(value) if is_whole else self._misfit(path, value, "a whole number")
        if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return float(value) if is_number else self._misfit(path, value, "a number")
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return value if isinstance(value, bool) else self._misfit(path, value, "true or false")
        return value if isinstance(value, str) else self._misfit(path, value, "a text: quote it")

    def _enum(self, field: FieldDescriptor, value: Any, path: str) -> int | None:
        names = EnumNames(field.enum_type)  # type: ignore[arg-type]  # the caller has looked
        if not isinstance(value, str):
            known = [name.removeprefix(names.prefix).lower() for name in names.keys()[1:]]
            self._misfit(path, value, f"one of {', '.join(known)}")
            return None
        try:
            return enum_number(names, names.prefix, value, path)
        except Failure as failure:
            self._fault(path, f"{value!r} is unknown; {failure.remedy}")
            return None

    def _texts(self, entries: Any, value: Any, path: str) -> None:
        """The entries of a map from text to text."""
        if not isinstance(value, dict):
            self._misfit(path, value, "an object")
            return
        for key, item in value.items():
            inner = f"{path}.{key}"
            if isinstance(key, str) and isinstance(item, str):
                entries[key] = item
            else:
                self._misfit(inner, item if isinstance(key, str) else key, "a text: quote it")

    def _duration(self, message: Any, value: Any, path: str) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number and not isinstance(value, str):
            self._misfit(path, value, "a duration such as 30s")
            return
        try:
            message.CopyFrom(duration(str(value), path))
        except Failure:
            self._fault(path, f"{value!r} is not a duration; write 30s, 5m, 1h30m or 200ms")

    def _timestamp(self, message: Any, value: Any, path: str) -> None:
        try:
            message.FromJsonString(value)
        except (ValueError, TypeError, AttributeError):
            self._fault(path, f"{value!r} is not a time; write 2030-01-31T12:00:00Z")

    def _value(self, message: Any, value: Any, path: str) -> None:
        try:
            json_format.ParseDict(value, message)
        except json_format.ParseError as error:
            self._fault(path, f"no JSON value: {error}")

    def _payload(self, message: Any, value: Any, path: str) -> None:
        message.SetInParent()
        if not (isinstance(value, dict) and value.keys() & _CONTENT_TYPE and _is_payload(value)):
            message.content_type = JSON_TYPE
            message.data = self._json(value, path)
            return
        body = {key: item for key, item in value.items() if key in _BODIES}
        content_type = next(item for key, item in value.items() if key in _CONTENT_TYPE)
        if not isinstance(content_type, str):
            self._misfit(f"{path}.content_type", content_type, "a text: quote it")
            return
        message.content_type = content_type or (TEXT_TYPE if "text" in body else "")
        for name, item in body.items():
            message.data = self._body(name, item, f"{path}.{name}")

    def _body(self, name: str, value: Any, path: str) -> bytes:
        if name == "json":
            return self._json(value, path)
        if not isinstance(value, str):
            self._misfit(path, value, "a text")
        elif name == "text":
            return value.encode(errors="replace")
        else:
            try:
                return base64.b64decode(value, validate=True)
            except ValueError:
                self._fault(path, "not base64")
        return b""

    def _json(self, value: Any, path: str) -> bytes:
        try:
            return json.dumps(
                value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=True
            ).encode()
        except (TypeError, ValueError) as error:
            self._fault(path, f"no JSON value: {error}")
            return b""

    def _misfit(self, path: str, value: Any, wanted: str) -> None:
        names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
        found = names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
        self._fault(path, f"is {found}; expected is {wanted}")

    def _fault(self, path: str, words: str) -> None:
        self.faults.append((path, words))


def _is_payload(value: dict[Any, Any]) -> bool:
    """Whether an object is a payload as answers show it, and not an input that has such a key."""
    return value.keys() <= _BODIES | _CONTENT_TYPE and len(value.keys() & _BODIES) <= 1


def _unknown(key: str, names: list[str]) -> str:
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()
    near = difflib.get_close_matches(snake, names, n=1, cutoff=0.5)
    return f"unknown key; is {near[0]} meant?" if near else f"unknown key; known are {', '.join(names)}"
