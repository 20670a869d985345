"""JSON pointers and JSON values as they stand in requests."""

from __future__ import annotations

import pytest
from google.protobuf import json_format, struct_pb2

from upbeat_server.rpc.values import pointer_fault, read_json


@pytest.mark.parametrize(
    "pointer", ["", "/", "/a", "/a/0/b", "//", "/é", "/a b", "/~0~1", "/a\nb", "/" + "x" * 1_023]
)
def test_a_pointer_of_the_standard_is_one(pointer: str) -> None:
    assert pointer_fault(pointer) == ""


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ("a", "begin it with a slash"),
        ("#/a", "begin it with a slash"),
        (" /a", "begin it with a slash"),
        ("/~", "~0 for a tilde"),
        ("/a~2b", "~0 for a tilde"),
        ("/a/~", "~0 for a tilde"),
        ("/" + "x" * 1_024, "longer than 1,024 bytes"),
        ("/" + "é" * 512, "longer than 1,024 bytes"),
    ],
)
def test_what_is_none_is_told_how_to_become_one(pointer: str, words: str) -> None:
    assert words in pointer_fault(pointer)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("null", b"null"),
        ('{"b":1,"a":[true,"x"]}', b'{"a":[true,"x"],"b":1}'),
        ("2.0", b"2"),
        ("0.5", b"0.5"),
    ],
)
def test_a_value_is_the_same_bytes_however_it_was_written(text: str, data: bytes) -> None:
    assert read_json(json_format.Parse(text, struct_pb2.Value())) == data
