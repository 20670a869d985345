from __future__ import annotations

import pytest

from upbeat_server.engine import reasons
from upbeat_server.http.json_text import VALUES_MAX, read_json
from upbeat_server.runtime.refused import Refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,}', "line 1"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "beyond what a double can hold"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "line 1, column 1"),
        (b"[" * 100_000, "levels"),
        (b"9" * 5_000, "digits"),
        (b"[" + b"1," * (VALUES_MAX + 1) + b"1]", "more than 1,000,000 values"),
    ],
    ids=lambda value: value[:20].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_what_is_not_json_is_refused_with_words(text: bytes, words: str) -> None:
    with pytest.raises(Refused, match="cannot be read as JSON") as refusal:
        read_json(text)
    assert refusal.value.refusal.reason == reasons.MALFORMED_MESSAGE
    assert words in refusal.value.refusal.message


def test_json_is_read_with_its_integers_exact() -> None:
    text = '{"n": 123456789012345678901, "x": [1.5, "ü", null]}'
    assert read_json(text.encode()) == {"n": 123456789012345678901, "x": [1.5, "ü", None]}
