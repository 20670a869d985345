"""Files of tasks as plain values: what YAML and JSON mean, and where they are wrong."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.spec_file import documents


def read(tmp_path: Path, text: str | bytes, name: str = "spec.yaml") -> list[Any]:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return documents(str(path))


def test_a_list_and_several_documents_are_several_tasks(tmp_path: Path) -> None:
    assert read(tmp_path, "type: a\n") == [{"type": "a"}]
    several = read(tmp_path, "- type: a\n- type: b\n---\ntype: c\n")
    assert several == [{"type": "a"}, {"type": "b"}, {"type": "c"}]
    assert read(tmp_path, '[{"type": "a"}, {"type": "b"}]', "spec.json") == [{"type": "a"}, {"type": "b"}]
    assert read(tmp_path, '{"type": "a"}\n{"type": "b"}\n', "spec.jsonl") == [{"type": "a"}, {"type": "b"}]
    assert read(tmp_path, "") == []
    assert read(tmp_path, "", "spec.json") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("-7", -7),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".5", 0.5),
        (".nan", ".nan"),
        ("2030-01-31", "2030-01-31"),
        ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00Z"),
        ("18446744073709551616", 2**64),
        ("'1'", "1"),
    ],
)
def test_yaml_means_what_the_json_that_it_looks_like_means(tmp_path: Path, text: str, value: Any) -> None:
    ((found),) = read(tmp_path, f"input: {text}\n")
    assert found == {"input": value}
    assert type(found["input"]) is type(value)


def test_steps_are_written_once_and_used_twice(tmp_path: Path) -> None:
    text = "a: &step {type: x, labels: {k: v}}\nb: *step\nc:\n  <<: *step\n  type: y\n"
    ((found),) = read(tmp_path, text)
    assert found["b"] == {"type": "x", "labels": {"k": "v"}}
    assert found["c"] == {"type": "y", "labels": {"k": "v"}}


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("type: a\ntype: b\n", "s.yaml", "line 2, column 1: the key 'type' is there twice"),
        ("type: [a\n", "s.yaml", "line 2, column 1"),
        ("type: !!python/object/apply:os.system [true]\n", "s.yaml", "could not determine a constructor"),
        ("a: \x01\n", "s.yaml", "special characters"),
        ("a: *nobody\n", "s.yaml", "undefined alias"),
        ('{"a": 1, "a": 2}', "s.json", "the key 'a' is there twice"),
        ('{"a": NaN}', "s.json", "NaN is no JSON"),
        ('{"a": 1', "s.json", "line 1"),
        ("[" * 100_000, "s.json", "nested too deeply"),
        ("[" * 100_000, "s.yaml", "nested too deeply"),
        (b"\xff\xfe", "s.yaml", "not UTF-8"),
    ],
)
def test_what_is_no_document_is_wrong_usage_that_says_where(
    tmp_path: Path, text: str | bytes, name: str, says: str
) -> None:
    with pytest.raises(Failure, match=says) as caught:
        read(tmp_path, text, name)
    assert caught.value.code is ExitCode.USAGE
    assert str(tmp_path) in caught.value.message


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot read"):
        documents(str(tmp_path / "nothing.yaml"))


@pytest.mark.parametrize("text", [b'{"type": "a"}', b"type: a", b'\xef\xbb\xbf{"type": "a"}'])
def test_a_dash_reads_either_from_standard_input(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert documents("-") == [{"type": "a"}]


def test_without_pyyaml_json_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert read(tmp_path, '{"type": "a"}', "spec.json") == [{"type": "a"}]
    with pytest.raises(Failure, match="YAML needs PyYAML") as caught:
        read(tmp_path, "type: a")
    assert caught.value.remedy == "pip install pyyaml, or write JSON"
