"""JSON pointers: the examples of RFC 6901, and what leads nowhere."""

from __future__ import annotations

import pytest

from upbeat_server.engine.collaboration.documents import Unreadable
from upbeat_server.engine.collaboration.pointer import list_at, text_at, tokens, value_at

# The document of section 5, with its answers.
DOCUMENT = rb"""{
  "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4,
  "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8
}"""


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_a_pointer_leads_where_the_standard_says(pointer: str, value: object) -> None:
    assert value_at(DOCUMENT, pointer) == value


def test_an_empty_pointer_is_the_whole() -> None:
    assert text_at(b' {"a" : 1} ', "") == b'{"a" : 1}'


def test_tilde_one_after_tilde_zero_is_not_unescaped_twice() -> None:
    assert tokens("/~01") == ["~1"]
    assert value_at(b'{"~1": 5}', "/~01") == 5


def test_what_it_leads_to_is_answered_byte_for_byte() -> None:
    assert text_at(b'{"a": [0, 1.50, {"b" : 2}]}', "/a/2") == b'{"b" : 2}'
    assert text_at(b'{"a": 10000000000000000000000001}', "/a") == b"10000000000000000000000001"


@pytest.mark.parametrize(
    "pointer",
    [
        "/x",
        "/foo/2",
        "/foo/-",
        "/foo/01",
        "/foo/-1",
        "/foo/1e0",
        "/foo/\u0660",
        "/foo//",
        "//",
        "/foo/0/x",
        "/foo/" + "9" * 5_000,
    ],
)
def test_a_pointer_that_leads_nowhere_says_so(pointer: str) -> None:
    with pytest.raises(Unreadable, match="has nothing at JSON pointer"):
        text_at(DOCUMENT, pointer)


def test_an_index_of_any_length_is_past_the_end() -> None:
    with pytest.raises(Unreadable, match="has nothing at JSON pointer"):
        text_at(DOCUMENT, "/foo/" + "9" * 5_000)


@pytest.mark.parametrize(
    ("pointer", "words"),
    [("foo", "does not begin with a slash"), ("/~", "neither ~0 nor ~1"), ("/a~2", "neither ~0 nor ~1")],
)
def test_what_is_no_pointer_says_so(pointer: str, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        text_at(DOCUMENT, pointer)


def test_what_is_beside_the_way_has_to_be_json_too() -> None:
    with pytest.raises(Unreadable, match="is no JSON"):
        text_at(b'{"a": 1, "b": "\xff"}', "/a")


def test_the_last_of_equal_keys_counts_as_everywhere() -> None:
    assert value_at(b'{"a": 1, "a": 2}', "/a") == 2


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"{}", "an object"),
        (b'""', "a string"),
        (b"null", "null"),
        (b"true", "true"),
        (b"false", "false"),
        (b"-1", "a number"),
    ],
)
def test_what_is_no_list_says_what_it_is(text: bytes, kind: str) -> None:
    with pytest.raises(Unreadable, match=f"is to have a list at its root, and has {kind}$"):
        list_at(text, "", 10)


def test_a_list_has_a_limit() -> None:
    assert list_at(b"[1, 2]", "", 2) == [b"1", b"2"]
    with pytest.raises(Unreadable, match="has 3 entries at its root; the limit is 2: split it"):
        list_at(b"[1, 2, 3]", "", 2)
