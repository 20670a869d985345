from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from upbeat.cli import inputs
from upbeat.cli.failure import ExitCode, Failure
from upbeat.v1.task_pb2 import Task
from upbeat.v1.task_spec_pb2 import Priority


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("1h30m", 5400), ("200ms", 0.2), ("2d", 172_800)],
)
def test_durations_are_read_with_and_without_unit(text: str, seconds: float) -> None:
    assert inputs.seconds(text, "--x") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5x", "-3s", "s", "1h 30q", "nan", "inf", "1e9"])
def test_what_is_no_duration_is_a_usage_failure_that_names_the_option(text: str) -> None:
    with pytest.raises(Failure, match="--queue-timeout") as caught:
        inputs.seconds(text, "--queue-timeout")
    assert caught.value.code is ExitCode.USAGE


def test_a_duration_beyond_the_contract_is_refused() -> None:
    with pytest.raises(Failure, match="longer than any"):
        inputs.duration("99999999999999d", "--total-timeout")


def test_a_duration_keeps_its_fraction() -> None:
    duration = inputs.duration("1500ms", "--x")
    assert (duration.seconds, duration.nanos) == (1, 500_000_000)


def test_pairs_split_at_the_first_equals_sign() -> None:
    assert inputs.pairs(["a=b", "c=d=e", "f="], "--label") == {"a": "b", "c": "d=e", "f": ""}


@pytest.mark.parametrize("texts", [["a"], ["=b"], ["a=1", "a=2"]])
def test_pairs_refuse_what_is_not_one_key_and_one_value(texts: list[str]) -> None:
    with pytest.raises(Failure, match="--label"):
        inputs.pairs(texts, "--label")


@pytest.mark.parametrize("text", ["high", "HIGH", "PRIORITY_HIGH", " High "])
def test_enums_are_read_by_short_and_full_names(text: str) -> None:
    assert inputs.enum_number(Priority, "PRIORITY_", text, "--priority") == Priority.PRIORITY_HIGH


@pytest.mark.parametrize("text", ["", "hig", "unspecified", "2"])
def test_an_unknown_enum_name_says_which_there_are(text: str) -> None:
    with pytest.raises(Failure) as caught:
        inputs.enum_number(Task.State, "STATE_", text, "--state")
    assert "queued" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ('{"a": 1}', "application/json"),
        ("12", "application/json"),
        ('"x"', "application/json"),
        ("plain words", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
        ("NaN", "text/plain; charset=utf-8"),
        ("\udcff", "application/octet-stream"),
    ],
)
def test_an_input_is_json_text_or_bytes_by_what_it_holds(text: str, content_type: str) -> None:
    assert inputs.payload(text, None).content_type == content_type


def test_no_input_is_an_empty_payload() -> None:
    assert inputs.payload(None, None).ByteSize() == 0


def test_a_content_type_given_is_taken_as_it_is() -> None:
    payload = inputs.payload("<a/>", "application/xml")
    assert (payload.content_type, payload.data) == ("application/xml", b"<a/>")


def test_a_file_is_sent_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\x00\xfe")
    payload = inputs.payload(f"@{tmp_path / 'x.bin'}", None)
    assert (payload.content_type, payload.data) == ("application/octet-stream", b"\xff\x00\xfe")


def test_two_at_signs_begin_a_text_with_one() -> None:
    assert inputs.payload("@@home", None).data == b"@home"


def test_a_file_that_is_not_there_is_a_usage_failure(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot read"):
        inputs.payload(f"@{tmp_path / 'nothing'}", None)


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[1, 2]")))
    payload = inputs.payload("-", None)
    assert (payload.content_type, payload.data) == ("application/json", b"[1, 2]")


def test_json_nested_beyond_reason_is_text() -> None:
    assert inputs.payload("[" * 100_000, None).content_type.startswith("text/plain")
