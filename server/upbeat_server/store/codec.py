"""How a task becomes bytes and comes back.

One byte, the version of the fields, then a msgpack map of the fields by name;
what has its default is left out. Rules:

- Structs only ever gain fields, each with a default, and never change a type or
  reuse a name. Whoever adds one to ``TaskRecord`` (or to what it holds) raises
  ``RECORD_VERSION``, whoever adds one to ``TaskSpec`` raises ``SPEC_VERSION``.
- A record that a newer release wrote keeps the fields that this release does not
  know when it is written again: they ride along in ``TaskRecord.newer``. A spec
  is written once and never again, so it needs no such care.
- Equal specs have equal bytes whatever objects they are made of, because
  ``fingerprint`` tells a repeated submission from a reused request_id by them,
  also across a restart and an upgrade.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from operator import attrgetter, eq, is_
from typing import Any

import msgspec
from msgspec.inspect import ListType, StructType, Type, UnionType, VarTupleType, type_info

from upbeat_server.engine.model import Payload, RetryPolicy, TaskRecord, TaskSpec
from upbeat_server.store.store import StoreInvalid

RECORD_VERSION = 2
SPEC_VERSION = 3
FINGERPRINT_BYTES = 16

_RECORD_PREFIX = bytes((RECORD_VERSION,))
_SPEC_PREFIX = bytes((SPEC_VERSION,))
_KEPT = "newer"
# Deterministic: labels in whatever order they came are the same spec.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_record = msgspec.msgpack.Decoder(TaskRecord).decode
_decode_spec = msgspec.msgpack.Decoder(TaskSpec).decode


@cache
def _loose_defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Fields of a struct with defaults whose equals need not be the same object.

    msgspec leaves a default out when the value is the very object that the default is. Large numbers,
    floats, structs and longer bytes can be equal to it and another one.
    """
    return tuple(
        (field.name, field.default)
        for field in msgspec.structs.fields(kind)
        if isinstance(field.default, float | msgspec.Struct)
        or (isinstance(field.default, int) and field.default > 256)
        or (isinstance(field.default, str | bytes) and len(field.default) > 1)
    )


@cache
def _holders(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Fields of a struct in which other structs may be whose defaults are loose."""
    info = type_info(kind)
    if not isinstance(info, StructType):
        raise TypeError(f"{kind} is no struct")
    return tuple(field.name for field in info.fields if _holds_struct(field.type))


def _holds_struct(kind: Type) -> bool:
    if isinstance(kind, StructType):
        return kind.cls not in _WHOLE
    if isinstance(kind, ListType | VarTupleType):
        return _holds_struct(kind.item_type)
    return isinstance(kind, UnionType) and any(map(_holds_struct, kind.types))


_WHOLE = (Payload, RetryPolicy)
"""These are written with all their defaults."""

_LOOSE = _loose_defaults(TaskSpec)
_LOOSE_DEFAULTS = tuple(default for _, default in _LOOSE)
_loose_values = attrgetter(*(name for name, _ in _LOOSE))


def encode_record(record: TaskRecord) -> bytes:
    """The record as it is stored."""
    if record.newer:
        return _encode_with_kept(record)
    try:
        return _RECORD_PREFIX + _encode(record)
    except UnicodeEncodeError:
        return _RECORD_PREFIX + _encode(_clean(msgspec.to_builtins(record, builtin_types=(bytes,))))


def decode_record(stored: bytes) -> TaskRecord:
    """What ``encode_record`` was given. Raises StoreInvalid if it is damaged."""
    try:
        record = _decode_record(memoryview(stored)[1:])
        if stored[0] > RECORD_VERSION:
            record.newer = stored
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreInvalid(f"a task record is damaged ({error}): restore the store from a backup") from error
    return record


def encode_spec(spec: TaskSpec) -> bytes:
    """The spec as it is stored; equal specs give equal bytes."""
    if spec.collaboration is not None:
        spec = _uniform(spec)
    else:
        values = _loose_values(spec)
        if sum(map(eq, values, _LOOSE_DEFAULTS)) != sum(map(is_, values, _LOOSE_DEFAULTS)):
            spec = _with_defaults(spec)
    try:
        return _SPEC_PREFIX + _encode(spec)
    except UnicodeEncodeError:
        return _SPEC_PREFIX + _encode(_clean(msgspec.to_builtins(spec, builtin_types=(bytes,))))


def _with_defaults(spec: TaskSpec) -> TaskSpec:
    same = {
        name: default
        for name, default in _LOOSE
        if (value := getattr(spec, name)) is not default and value == default
    }
    return msgspec.structs.replace(spec, **same) if same else spec


def decode_spec(stored: bytes) -> TaskSpec:
    """What ``encode_spec`` was given. Raises StoreInvalid if it is damaged."""
    try:
        return _decode_spec(memoryview(stored)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreInvalid(f"a task spec is damaged ({error}): restore the store from a backup") from error


def _uniform(value: Any) -> Any:
    """The struct with the very default wherever it, or a struct within it, has an equal one."""
    kind: type[msgspec.Struct] = type(value)
    changes: dict[str, Any] = {}
    for name in _holders(kind):
        outer = getattr(value, name)
        if not outer:
            continue
        inner = _all_uniform(outer) if isinstance(outer, tuple) else _uniform(outer)
        if inner is not outer:
            changes[name] = inner
    for name, default in _loose_defaults(kind):
        held = changes[name] if name in changes else getattr(value, name)
        if held is not default and held == default:
            changes[name] = default
    return msgspec.structs.replace(value, **changes) if changes else value


def _all_uniform(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The structs, each uniform; the very tuple if all are."""
    uniform = tuple(map(_uniform, values))
    return values if all(map(is_, uniform, values)) else uniform


def fingerprint(spec_bytes: bytes) -> bytes:
    """16 bytes that stand for an encoded spec, the same in every release."""
    return blake2b(spec_bytes[1:], digest_size=FINGERPRINT_BYTES).digest()


def fingerprint_of(spec: TaskSpec, spec_bytes: bytes) -> bytes:
    """The fingerprint of a submission, which is that of its spec without the trace.

    Whoever repeats a submission does so in another span, or in another trace: what it
    is traced by is no part of what a task is.
    """
    if spec.traceparent:
        spec_bytes = encode_spec(msgspec.structs.replace(spec, traceparent=""))
    return fingerprint(spec_bytes)


def clean_text(text: str) -> str:
    """The text as it can be stored: UTF-8 has no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _clean(tree: Any) -> Any:
    """The tree with every text as it can be stored."""
    if isinstance(tree, str):
        return clean_text(tree)
    if isinstance(tree, dict):
        return {clean_text(key): _clean(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_clean(value) for value in tree]
    return tree


class _Shape:
    """Which fields of a stored struct this release knows."""

    def __init__(self, struct: StructType) -> None:
        self.names = frozenset(field.encode_name for field in struct.fields)
        self.is_value = struct.cls.__struct_config__.frozen
        # Of several in a list, the field that tells them apart: the first.
        self.key = struct.fields[0].encode_name
        self.inner = {
            field.encode_name: shape
            for field in struct.fields
            if (shape := _shape_in(field.type)) is not None
        }

    def graft(self, raw: dict[str, Any], read: dict[str, Any], new: dict[str, Any]) -> None:
        """Put into ``new`` what ``raw`` has and this release does not know.

        ``read`` is what this release made of ``raw``: a value that was replaced since takes
        nothing over from the one before it.
        """
        if self.is_value and read != new:
            return
        new.update({name: value for name, value in raw.items() if name not in self.names})
        for name, shape in self.inner.items():
            if name not in raw or name not in read or name not in new:
                continue
            if isinstance(new[name], dict) and isinstance(read[name], dict):
                shape.graft(raw[name], read[name], new[name])
            elif isinstance(new[name], list | tuple):
                before = {
                    was[shape.key]: (part, was) for part, was in zip(raw[name], read[name], strict=True)
                }
                for item in new[name]:
                    if item[shape.key] in before:
                        shape.graft(*before[item[shape.key]], item)


def _shape_in(kind: Type) -> _Shape | None:
    """The shape of the struct that a field holds, if it holds one."""
    if isinstance(kind, StructType):
        return _Shape(kind)
    if isinstance(kind, ListType | VarTupleType):
        return _shape_in(kind.item_type)
    if isinstance(kind, UnionType):
        return next((shape for part in kind.types if (shape := _shape_in(part)) is not None), None)
    return None


_RECORD_SHAPE = _shape_in(type_info(TaskRecord))


def _encode_with_kept(record: TaskRecord) -> bytes:
    """The record with the fields of the newer release that wrote it, under its version."""
    stored = memoryview(record.newer)[1:]
    read = msgspec.to_builtins(_decode_record(stored), builtin_types=(bytes,))
    tree = msgspec.to_builtins(record, builtin_types=(bytes,))
    del tree[_KEPT]
    if _RECORD_SHAPE is not None:
        _RECORD_SHAPE.graft(msgspec.msgpack.decode(stored), read, tree)
    return record.newer[:1] + _encode(_clean(tree))
