from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from upbeat.cli.documents import document, dumps
from upbeat.v1.task_pb2 import Attempt, Task


def test_enum_names_are_whole_and_defaults_are_there() -> None:
    plain = document(Task(task_id="1", state=Task.STATE_RUNNING, attempts=[Attempt(attempt=1)]))
    assert plain["state"] == "STATE_RUNNING"
    assert plain["attempt_count"] == 0
    assert plain["attempts"][0]["outcome"] == "OUTCOME_UNSPECIFIED"
    assert "output" not in plain


def test_a_json_payload_is_shown_as_json_with_exact_integers() -> None:
    task = Task()
    task.output.content_type = "application/json; charset=utf-8"
    task.output.data = b'{"n": 12345678901234567890}'
    assert document(task)["output"]["json"] == {"n": 12345678901234567890}


def test_a_payload_that_only_claims_to_be_json_stays_base64() -> None:
    task = Task()
    task.spec.input.content_type = "application/json"
    task.spec.input.data = b"{"
    assert document(task)["spec"]["input"] == {"content_type": "application/json", "data": "ew=="}


def test_a_text_payload_is_shown_as_text_and_bytes_as_base64() -> None:
    task = Task()
    task.spec.input.content_type = "text/plain; charset=utf-8"
    task.spec.input.data = "grün".encode()
    task.output.content_type = "text/plain"
    task.output.data = b"\xff"
    plain = document(task)
    assert plain["spec"]["input"]["text"] == "grün"
    assert plain["output"]["data"] == "/w=="


@given(st.recursive(st.text() | st.integers() | st.none(), st.lists))
def test_printed_json_says_the_same_without_characters_that_act_on_a_terminal(value: object) -> None:
    text = dumps(value)
    assert json.loads(text) == value
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text)
    assert not set(text) & set("\u202a\u202d\u202e\u2066\u2028")
    text.encode()
