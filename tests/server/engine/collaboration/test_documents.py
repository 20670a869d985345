"""What agents answer, read as JSON: exact, total, and the same wherever it is read."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbeat_server.engine.collaboration.bundle import as_json, listed, named
from upbeat_server.engine.collaboration.documents import (
    DEPTH_MAX,
    Unreadable,
    canonical,
    decoded,
    is_json_type,
    is_number,
)
from upbeat_server.engine.model import Payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/json", True),
        ("application/problem+json", True),
        ("text/plain", False),
        ("application/jsonl", False),
        ("", False),
    ],
)
def test_json_is_told_by_the_content_type(content_type: str, is_json: bool) -> None:
    assert is_json_type(content_type) == is_json


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1,]",
        b"nul",
        b"01",
        b"1 2",
        b"\xff",
        b'"\xff"',
        b'"\\ud800"',
        b"1e999",
        b"NaN",
        b"\xef\xbb\xbf1",
    ],
)
def test_what_is_no_json_says_so(text: bytes) -> None:
    with pytest.raises(Unreadable, match=r"^is no JSON: "):
        decoded(text)


@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 900, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_has_a_bound(depth: int, brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    with pytest.raises(Unreadable, match=r"^is nested deeper than 100 lists and objects: flatten it$"):
        decoded(opening * depth + b"0" + closing * depth)


def test_what_is_wide_is_not_deep() -> None:
    assert len(decoded(b"[" + b",".join([b"[]"] * 1_000) + b"]")) == 1_000
    assert decoded(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":2}', b' {"b": 2.0, "a": 1}'),
        (b"[1, -0.0, 1e3]", b"[1.0,0,1000]"),
        (b'"\\u00e9"', '"é"'.encode()),
        (b"10000000000000000000", b"1e19"),
    ],
)
def test_the_same_value_has_the_same_canonical_text(one: bytes, other: bytes) -> None:
    assert canonical(decoded(one)) == canonical(decoded(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"1", b"true"),
        (b"0", b"false"),
        (b"null", b"0"),
        (b"[1,2]", b"[2,1]"),
        (b"1", b'"1"'),
        (b"1.1", b"1"),
    ],
)
def test_other_values_have_another_canonical_text(one: bytes, other: bytes) -> None:
    assert canonical(decoded(one)) != canonical(decoded(other))


@given(JSON)
def test_a_canonical_text_reads_as_its_value_and_is_its_own(value: Any) -> None:
    text = canonical(value)
    assert decoded(text) == value
    assert canonical(decoded(text)) == text


@given(st.binary(max_size=64))
def test_reading_raises_nothing_but_unreadable(text: bytes) -> None:
    with suppress(Unreadable):
        canonical(decoded(text))


@given(st.lists(st.tuples(st.sampled_from(["application/json", "text/plain", ""]), st.binary(max_size=16))))
def test_whatever_agents_answer_can_be_put_together(outputs: list[tuple[str, bytes]]) -> None:
    texts = [as_json(Payload(content_type, text)) for content_type, text in outputs]
    assert len(decoded(listed(texts).data)) == len(texts)
    assert set(decoded(named((str(index), text) for index, text in enumerate(texts)).data)) == {
        str(index) for index in range(len(texts))
    }


def test_numbers_are_those_that_can_be_computed_with() -> None:
    assert is_number(1)
    assert is_number(-1.5)
    assert not is_number(True)
    assert not is_number("1")
    assert not is_number(10**300)
