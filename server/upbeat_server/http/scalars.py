"""Single values of protobuf JSON as those of a message field. Each raises Unfit with words for a caller."""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor as Field

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

INTEGER: Final = "-?[0-9]{1,20}"
_INTEGER: Final = re.compile(INTEGER)
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?")
_BITS: Final = {
    Field.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    Field.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    Field.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    Field.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}


class Unfit(Exception):
    """A value is not what its field takes; the words complete its name: "must be a string, not null"."""


WIDE: Final = frozenset((Field.CPPTYPE_INT64, Field.CPPTYPE_UINT64))
"""Types that JSON writes as strings, because doubles cannot hold them."""
FLOATS: Final = frozenset((Field.CPPTYPE_DOUBLE, Field.CPPTYPE_FLOAT))


def scalar_reader(field: FieldDescriptor) -> Callable[[Any], Any]:
    """What reads a value for a field that is no message."""
    if field.enum_type is not None:
        return _enum_reader(field.enum_type)
    if field.cpp_type in _BITS:
        return _integer_reader(*_BITS[field.cpp_type], string_allowed=field.cpp_type in WIDE)
    if field.type == Field.TYPE_BYTES:
        return read_bytes
    return {
        Field.CPPTYPE_STRING: read_string,
        Field.CPPTYPE_BOOL: read_bool,
        Field.CPPTYPE_DOUBLE: read_number,
        Field.CPPTYPE_FLOAT: read_number,
    }[field.cpp_type]


def read_string(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise Unfit(f"must be a string, not {kind_of(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit("holds half of a surrogate pair, which is no character") from None
    return value


def read_bool(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Unfit(f"must be true or false, not {kind_of(value)}")
    return value


def read_number(value: Any) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit(f"must be a number, not {kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Unfit("is beyond what a double can hold")
    return number


def read_bytes(value: Any) -> bytes:
    """Base64, the plain or the URL alphabet, with or without padding."""
    if not isinstance(value, str):
        raise Unfit(f"must be a string of base64, not {kind_of(value)}")
    text = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("is not base64") from None


def short_names(enum: EnumDescriptor) -> dict[str, int]:
    """The numbers of an enum by its full names and by those without what all of them begin with."""
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    numbers = {value.name: value.number for value in enum.values}
    return {name.removeprefix(prefix): number for name, number in numbers.items()} | numbers


def kind_of(value: Any) -> str:
    """What a JSON value is, for a person."""
    if value is None:
        return "null"
    names = {bool: "a boolean", dict: "an object", list: "a list", str: "a string"}
    return names.get(type(value), "a number")


def text_reader(field: FieldDescriptor) -> Callable[[str], Any]:
    """What makes a JSON value of a text of the query; of one that is none, the text itself."""
    if field.cpp_type == Field.CPPTYPE_BOOL:
        return lambda text: {"true": True, "false": False}.get(text, text)
    if field.cpp_type in _BITS:
        return lambda text: int(text) if _INTEGER.fullmatch(text) else text
    if field.cpp_type in FLOATS:
        return lambda text: float(text) if _NUMBER.fullmatch(text) else text
    return str


def _integer_reader(least: int, most: int, *, string_allowed: bool) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if string_allowed and isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unfit(f"must be a whole number, not {kind_of(value)}")
        if not least <= value <= most:
            raise Unfit(f"must be {least:,} to {most:,}")
        return value

    return read


def _enum_reader(enum: EnumDescriptor) -> Callable[[Any], int]:
    numbers = short_names(enum)
    full = {value.name for value in enum.values}
    shorts = ", ".join(name for name, number in numbers.items() if number and name not in full)

    def read(value: Any) -> int:
        if not isinstance(value, str) or value not in numbers:
            raise Unfit(f"must be one of {shorts}")
        return numbers[value]

    return read
