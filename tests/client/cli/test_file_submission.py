"""``upbeat tasks submit --file``: whole tasks, one or several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

ECHO = "type: echo\ninput: {exact: 18446744073709551617}\nlabels: {team: a}\n"


def written(tmp_path: Path, text: str, name: str = "spec.yaml") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_task_from_a_file_is_submitted_and_waited_for(up: CommandLine, tmp_path: Path) -> None:
    outcome = up("tasks", "submit", "--file", written(tmp_path, ECHO), "--wait")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document == {"exact": 2**64 + 1}


def test_several_are_submitted_in_order_each_with_a_request_id_of_its_own(
    up: CommandLine, tmp_path: Path
) -> None:
    file = written(tmp_path, f"{ECHO}---\n{ECHO}")
    outcome = up("tasks", "submit", "--file", file, "--request-id", "r-1")
    assert outcome.code == 0
    ids = outcome.out.split()
    assert len(set(ids)) == 2
    assert up("tasks", "submit", "--file", file, "--request-id", "r-1").out.split() == ids
    task = up("tasks", "get", ids[1], "-o", "json").document
    assert (task["request_id"], task["spec"]["labels"]) == ("r-1-2", {"team": "a"})


def test_several_are_waited_for_and_fail_if_one_does(up: CommandLine, tmp_path: Path) -> None:
    file = written(tmp_path, json.dumps([{"type": "fail"}, {"type": "echo", "input": "fine"}]), "two.json")
    outcome = up("tasks", "submit", "--file", file, "--wait", "-o", "json")
    assert outcome.code == 1
    states = [task["state"] for task in outcome.document["tasks"]]
    assert states == ["STATE_FAILED", "STATE_COMPLETED"]
    outcome = up("tasks", "submit", "--file", file, "--wait")
    assert outcome.code == 1
    assert "fine" in outcome.out
    assert "BROKEN" in outcome.err


def test_several_as_json_are_one_document(up: CommandLine, tmp_path: Path) -> None:
    outcome = up("tasks", "submit", "--file", written(tmp_path, f"{ECHO}---\n{ECHO}"), "-o", "json")
    assert [task["spec"]["type"] for task in outcome.document["tasks"]] == ["echo", "echo"]
    one = up("tasks", "submit", "--file", written(tmp_path, ECHO), "-o", "json")
    assert one.document["spec"]["type"] == "echo"


def test_nothing_is_submitted_if_one_of_them_is_wrong(up: CommandLine, tmp_path: Path) -> None:
    file = written(tmp_path, "labels: {batch: wrong}\ntype: echo\n---\ntype: echo\npriorty: high\n")
    outcome = up("tasks", "submit", "--file", file)
    assert outcome.code == 2
    assert "task 2 is no task" in outcome.err
    assert "priorty: unknown key; is priority meant?" in outcome.err
    assert up("tasks", "list", "--label", "batch=wrong", "-o", "json").document == {"tasks": []}


def test_the_one_that_the_server_refuses_is_named_and_those_before_it_are_told(
    up: CommandLine, tmp_path: Path
) -> None:
    outcome = up("tasks", "submit", "--file", written(tmp_path, f"{ECHO}---\ntype: '!'\n"))
    assert outcome.code == 4
    assert len(outcome.out.split()) == 1
    assert "task 2 of 2" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "what is to be done?"),
        (["echo", "--file", "FILE"], "choose one of TYPE and --file"),
        (["--file", "FILE", "--priority", "high"], "--priority does not go with --file"),
        (["--file", "FILE", "--label", "a=b"], "--label does not go with --file"),
        (["--file", "EMPTY"], "holds no task"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    up: CommandLine, tmp_path: Path, arguments: list[str], says: str
) -> None:
    files = {"FILE": written(tmp_path, ECHO), "EMPTY": written(tmp_path, "", "empty.yaml")}
    outcome = up("tasks", "submit", *(files.get(each, each) for each in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err
