"""JSON values and the dataclasses, enums and collections they stand for.

`to_json` takes what users write in skills to values that `json` can encode;
`from_json` takes parsed JSON back to an annotated type and says where it does
not fit (`$.pages[3].title`). Integers stay exact. Unknown keys of a dataclass
are ignored, so that a newer caller does not break an older agent; missing ones
without a default are an error.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from upbeat.errors import CodecError

_MOMENTS = (dt.datetime, dt.date, dt.time)
_hints_by_class: dict[type[Any], dict[str, Any]] = {}


def to_json(value: Any, path: str = "$") -> Any:
    """What `json.dumps` can take; raises CodecError for anything that has no JSON form."""
    if value is None or (isinstance(value, bool | str | int | float) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return to_json(value.value, path)
    if hasattr(value, "model_dump"):  # A pydantic model.
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name), f"{path}.{field.name}")
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {_key(key, path): to_json(each, f"{path}.{key}") for key, each in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, Sequence | AbstractSet):
        return [to_json(each, f"{path}[{index}]") for index, each in enumerate(value)]
    if isinstance(value, _MOMENTS):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    raise CodecError(f"{path}: {type(value).__qualname__} has no JSON form")


def _key(key: Any, path: str) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise CodecError(f"{path}: a key is {type(key).__qualname__}; JSON keys are text")
    return str(key)


def from_json(value: Any, kind: Any, path: str = "$") -> Any:
    """`value` as `kind`; raises CodecError that names the path where it does not fit."""
    if kind is Any or kind is object:
        return value
    if kind is None or kind is types.NoneType:
        if value is None:
            return None
        raise _misfit(value, "null", path)
    origin = typing.get_origin(kind)
    if origin is not None:
        return _generic(value, kind, origin, path)
    if isinstance(kind, typing.TypeVar):
        return value
    if isinstance(kind, type):
        return _plain(value, kind, path)
    raise CodecError(f"{path}: upbeat cannot decode {kind!r}; use a dataclass, a pydantic model or dict")


def _plain(value: Any, kind: type[Any], path: str) -> Any:
    if hasattr(kind, "model_validate"):
        try:
            return kind.model_validate(value)
        except ValueError as error:
            raise CodecError(f"{path}: {error}") from error
    if dataclasses.is_dataclass(kind):
        return _dataclass(value, kind, path)
    if typing.is_typeddict(kind):
        return _mapping(value, str, Any, path)
    if issubclass(kind, enum.Enum):
        return _made(kind, value, value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (str, int, float, bool):
        if type(value) is not kind:
            raise _misfit(value, kind.__name__, path)
        return value
    if kind is bytes:
        return _bytes(value, path)
    if issubclass(kind, _MOMENTS):
        return _made(kind.fromisoformat, value, value, path)
    if kind is dt.timedelta:
        return _made(lambda seconds: dt.timedelta(seconds=seconds), value, value, path)
    if kind in (dict, list, tuple, set, frozenset):
        return _generic(value, kind, kind, path)
    raise CodecError(f"{path}: upbeat cannot decode {kind.__qualname__}; use a dataclass or a pydantic model")


def _generic(value: Any, kind: Any, origin: Any, path: str) -> Any:
    args = typing.get_args(kind)
    if origin is typing.Annotated:
        return from_json(value, args[0], path)
    if origin is typing.Literal:
        if any(value == each and type(value) is type(each) for each in args):
            return value
        raise _misfit(value, " or ".join(map(repr, args)), path)
    if origin in (typing.Union, types.UnionType):
        return _union(value, args, path)
    if origin in (list, set, frozenset, Sequence, AbstractSet):
        items = _items(value, path)
        of = args[0] if args else Any
        made = [from_json(each, of, f"{path}[{index}]") for index, each in enumerate(items)]
        return {set: set, frozenset: frozenset, AbstractSet: frozenset}.get(origin, list)(made)
    if origin is tuple:
        return _tuple(value, args, path)
    if origin in (dict, Mapping):
        key_kind, value_kind = args or (str, Any)
        return _mapping(value, key_kind, value_kind, path)
    if isinstance(origin, type) and dataclasses.is_dataclass(origin):
        return _dataclass(value, origin, path)
    raise CodecError(f"{path}: upbeat cannot decode {kind!r}")


def _union(value: Any, kinds: tuple[Any, ...], path: str) -> Any:
    """The exact type if it is among them, else the first that fits, in the order written."""
    if value is None and types.NoneType in kinds:
        return None
    if type(value) in kinds:
        return value
    reasons = []
    for kind in kinds:
        if kind is types.NoneType:
            continue
        try:
            return from_json(value, kind, path)
        except CodecError as error:
            reasons.append(error.message)
    raise CodecError("; ".join(reasons) or f"{path}: nothing fits")


def _tuple(value: Any, args: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    items = _items(value, path)
    if not args or (len(args) == 2 and args[1] is ...):
        of = args[0] if args else Any
        return tuple(from_json(each, of, f"{path}[{index}]") for index, each in enumerate(items))
    if len(items) != len(args):
        raise CodecError(f"{path}: {len(items)} items where {len(args)} are expected")
    return tuple(
        from_json(each, of, f"{path}[{index}]")
        for index, (each, of) in enumerate(zip(items, args, strict=True))
    )


def _mapping(value: Any, key_kind: Any, value_kind: Any, path: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _misfit(value, "an object", path)
    return {
        _from_key(key, key_kind, path): from_json(each, value_kind, f"{path}.{key}")
        for key, each in value.items()
    }


def _from_key(key: str, kind: Any, path: str) -> Any:
    if kind is int:
        return _made(int, key, key, path)
    return from_json(key, kind, path)


def _dataclass(value: Any, kind: type[Any], path: str) -> Any:
    if not isinstance(value, dict):
        raise _misfit(value, f"an object ({kind.__qualname__})", path)
    hints = _hints_by_class.get(kind)
    if hints is None:
        hints = _hints_by_class[kind] = typing.get_type_hints(kind, include_extras=True)
    known: dict[str, Any] = {}
    missing: list[str] = []
    for field in dataclasses.fields(kind):
        if field.init and field.name in value:
            known[field.name] = from_json(value[field.name], hints[field.name], f"{path}.{field.name}")
        elif field.init and field.default is field.default_factory is dataclasses.MISSING:
            missing.append(field.name)
    if missing:
        raise CodecError(f"{path}: missing {', '.join(missing)}")
    try:
        return kind(**known)
    except (TypeError, ValueError) as error:
        raise CodecError(f"{path}: {error}") from error


def _items(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise _misfit(value, "an array", path)
    return value


def _bytes(value: Any, path: str) -> bytes:
    if not isinstance(value, str):
        raise _misfit(value, "base64 text", path)
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise CodecError(f"{path}: not base64") from error


def _made(make: Any, argument: Any, value: Any, path: str) -> Any:
    try:
        return make(argument)
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"{path}: {value!r}: {error}") from error


def _misfit(value: Any, wanted: str, path: str) -> CodecError:
    return CodecError(f"{path}: {type(value).__name__} where {wanted} is expected")
