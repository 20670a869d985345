from __future__ import annotations

import datetime as dt
import enum
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import pydantic
import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from upbeat.codec import BYTES, JSON, PROTOBUF, TEXT, decode, encode
from upbeat.errors import CodecError
from upbeat.structure import from_json
from upbeat.v1 import payload_pb2, task_pb2


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Page:
    title: str
    number: int = 0


@dataclass
class Doc:
    pages: list[Page]
    by_name: dict[str, Page] = field(default_factory=dict)
    by_number: dict[int, str] = field(default_factory=dict)
    colour: Colour | None = None
    blob: bytes = b""
    when: dt.datetime | None = None
    span: tuple[int, str] = (0, "")
    rest: tuple[float, ...] = ()
    tags: frozenset[str] = frozenset()
    length: dt.timedelta = dt.timedelta()
    kind: Literal["a", "b"] = "a"
    note: Annotated[str, "kept"] = ""
    either: int | str = 0
    anything: Any = None


class Model(pydantic.BaseModel):
    name: str
    count: int = 1


class Named(TypedDict):
    name: str


DOC = Doc(
    pages=[Page("a", 1), Page("b")],
    by_name={"x": Page("x", 2**80)},
    by_number={1: "one"},
    colour=Colour.RED,
    blob=b"\x00\xff",
    when=dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
    span=(1, "z"),
    rest=(1.0, 2.5),
    tags=frozenset({"t"}),
    length=dt.timedelta(seconds=1.5),
    kind="b",
    note="n",
    either="text",
    anything=[1, {"k": None}],
)


@pytest.mark.parametrize(
    ("value", "kind", "content_type"),
    [
        (DOC, Doc, JSON),
        (Model(name="n", count=2), Model, JSON),
        ({"a": 2**70, "b": [1.5, None, True]}, dict, JSON),
        ([1, 2], list[int], JSON),
        ([], list, JSON),
        ({"x": [1]}, dict[str, list[int]], JSON),
        ({"name": "n"}, Named, JSON),
        (3, int, JSON),
        (2.0, float, JSON),
        (True, bool, JSON),
        (None, type(None), JSON),
        (Colour.RED, Colour, JSON),
        ("text with \u2603", str, TEXT),
        ("", str, TEXT),
        (b"\x00\x01", bytes, BYTES),
        (struct_pb2.Value(number_value=1.0), struct_pb2.Value, PROTOBUF),
        (task_pb2.Usage(input_tokens=3), task_pb2.Usage, PROTOBUF),
    ],
)
def test_a_value_comes_back_as_it_went_in(value: Any, kind: Any, content_type: str) -> None:
    payload = encode(value, kind)
    assert payload.content_type == content_type
    assert decode(payload_pb2.Payload.FromString(payload.SerializeToString()), kind) == value


@pytest.mark.parametrize("value", [{"a": 1}, [1], 3, 1.5, True, None, "text", b"bytes"])
def test_without_a_kind_the_content_type_decides(value: Any) -> None:
    assert decode(encode(value)) == value


_text = st.text(st.characters(exclude_categories=["Cs"]))
_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=20,
)


@given(_json_values.filter(lambda value: not isinstance(value, str)))
def test_json_comes_back_exactly(value: Any) -> None:
    assert json.dumps(decode(encode(value))) == json.dumps(value)


def test_integers_do_not_pass_through_doubles() -> None:
    assert encode({"id": 2**63 + 1}).data == b'{"id":9223372036854775809}'


def test_json_written_by_hand_is_read_too() -> None:
    payload = payload_pb2.Payload()
    payload.json.struct_value["title"] = "a"
    assert decode(payload, Page) == Page("a")


def test_a_message_may_come_as_json() -> None:
    payload = payload_pb2.Payload(content_type=JSON, data=b'{"inputTokens": "3"}')
    assert decode(payload, task_pb2.Usage) == task_pb2.Usage(input_tokens=3)


def test_an_unknown_key_of_a_newer_caller_is_ignored() -> None:
    payload = payload_pb2.Payload(content_type=JSON, data=b'{"title": "a", "new": 1}')
    assert decode(payload, Page) == Page("a")


def test_an_empty_payload_is_none() -> None:
    assert decode(payload_pb2.Payload()) is None
    assert decode(payload_pb2.Payload(), type(None)) is None


def test_whoever_wants_bytes_gets_them_whatever_they_are() -> None:
    assert decode(encode({"a": 1}), bytes) == b'{"a":1}'


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b'{"pages": [{"title": "a"}, {"title": 3}]}', Doc, r"\$\.pages\[1\]\.title: int where str"),
        (b'{"pages": 1}', Doc, r"\$\.pages: int where an array"),
        (b"{}", Page, r"\$: .*title"),
        (b"[]", Page, r"list where an object \(Page\)"),
        (b'{"title": "a", "number": true}', Page, r"bool where int"),
        (b'{"title": "a", "number": 1.0}', Page, r"float where int"),
        (b'"purple"', Colour, "purple"),
        (b'"c"', Literal["a", "b"], "'a' or 'b'"),
        (b'"%%%"', list[int], "array"),
        (b"[1, 2, 3]", tuple[int, int], "3 items where 2"),
        (b'{"x": 1}', int | str, "where"),
        (b'{"name": 1}', Model, "name"),
        (b"{", dict, "not valid JSON"),
        (b"\xff", dict, "not valid JSON"),
        (b"[" * 100_000, list, "not valid JSON"),
        (b'"2026-13-01"', dt.date, "2026-13-01"),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(data: bytes, kind: Any, says: str) -> None:
    with pytest.raises(CodecError, match=says):
        decode(payload_pb2.Payload(content_type=JSON, data=data), kind)


@pytest.mark.parametrize(
    ("content_type", "data", "kind", "says"),
    [
        (BYTES, b"x", Page, "application/octet-stream"),
        (TEXT, b"x", dict, "text/plain"),
        (TEXT, b"\xff", str, "UTF-8"),
        (PROTOBUF, b"\xff\xff", task_pb2.Usage, "Usage"),
    ],
)
def test_a_payload_of_another_sort_is_refused(content_type: str, data: bytes, kind: Any, says: str) -> None:
    with pytest.raises(CodecError, match=says):
        decode(payload_pb2.Payload(content_type=content_type, data=data), kind)


def _endless() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (object(), Any, "object has no JSON form"),
        ({"a": {"b": object()}}, dict, r"\$\.a\.b"),
        ({(1, 2): 3}, dict, "JSON keys are text"),
        (float("nan"), float, "JSON"),
        (_endless(), list, "nested too deeply"),
        ("\ud800", str, "Unicode"),
        (3, str, "int where the skill names str"),
        ("x", bytes, "str where the skill names bytes"),
        (Page("a"), Doc, "Page where the skill names Doc"),
        (task_pb2.Usage(), task_pb2.Task, "Usage where the skill names Task"),
    ],
)
def test_what_cannot_be_encoded_is_refused(value: Any, kind: Any, says: str) -> None:
    with pytest.raises(CodecError, match=says):
        encode(value, kind)


def test_every_missing_field_is_named() -> None:
    @dataclass
    class Order:
        item: str
        count: int
        note: str = ""

    with pytest.raises(CodecError, match=r"\$\.lines\[0\]: missing item, count"):
        from_json({"lines": [{"note": "x"}]}, dict[str, list[Order]])
