"""Collaborations on the command line, against a real server with one agent."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command_line import CommandLine

NESTED = """
input: {exact: 18446744073709551617}
collaboration:
  sequential:
    steps:
      - echo
      - name: both
        collaboration: {parallel: {steps: [echo, {type: echo, name: second}]}}
      - type: echo
        name: last
"""
OPEN = "collaboration: {pipeline: {stages: [echo, echo], open: true}}\n"


def submitted(up: CommandLine, tmp_path: Path, text: str, *options: str) -> str:
    path = tmp_path / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    outcome = up("tasks", "submit", "--file", str(path), *options)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


def test_a_nested_collaboration_runs_from_a_file_and_is_seen_as_a_tree(
    up: CommandLine, tmp_path: Path
) -> None:
    assert json.loads(submitted(up, tmp_path, NESTED, "--wait")) == [{"exact": 2**64 + 1}] * 2
    task_id = submitted(up, tmp_path, NESTED).strip()
    assert up("tasks", "get", task_id, "--wait").code == 0
    rows = up("tasks", "tree", task_id).rows
    assert rows[0][:2] == ["COMPLETED", "sequential(echo"]
    members = [word for row in rows[1:] for word in row if word.startswith("step/")]
    assert members == ["step/0", "step/1", "step/0", "step/1", "step/2"]
    tree = up("tasks", "tree", task_id, "-o", "json").document
    first, both, last = tree["child_tasks"]
    assert [child["spec"]["name"] for child in both["child_tasks"]] == ["", "second"]
    assert (both["parent_task_id"], last["spec"]["name"]) == (task_id, "last")
    grade = up("tasks", "grade", first["task_id"], "--right", "-o", "json").document
    assert (grade["agent_id"], grade["correct_count"]) == ("tester-1", "1")
    assert up("tasks", "grade", task_id, "--right").code == 4
    assert "3 completed" in up("tasks", "get", task_id).out


def test_get_names_the_winner_of_a_race_with_its_place_and_its_agent(up: CommandLine, tmp_path: Path) -> None:
    race = "input: 1\ncollaboration: {competitive: {candidates: [{type: echo, name: fast}]}}\n"
    task_id = submitted(up, tmp_path, race).strip()
    won = up("tasks", "get", task_id, "--wait", "-o", "json").document["collaboration_result"]
    (row,) = (row for row in up("tasks", "get", task_id).rows if row[:1] == ["winner"])
    assert row[1:] == [won["winner_task_id"], "fast", "(candidate/0)", "by", "tester-1"]


def test_an_open_pipeline_is_fed_and_closed(up: CommandLine, tmp_path: Path) -> None:
    task_id = submitted(up, tmp_path, OPEN).strip()
    assert up("tasks", "append", task_id, "--item", "1", "--item", '{"n": 2}').out == "2\n"
    assert up("tasks", "append", task_id, "--item", "1", "--first-index", "0").out == "2\n"
    assert up("tasks", "close", task_id).out == "2\n"
    outcome = up("tasks", "get", task_id, "--wait", "-o", "json")
    assert outcome.document["output"]["json"] == [1, {"n": 2}]
    refused = up("tasks", "append", task_id, "--item", "3")
    assert refused.code == 4


def test_a_fault_that_only_the_server_sees_names_the_step(up: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("collaboration: {sequential: {steps: [echo, {type: '!'}]}}\n", encoding="utf-8")
    outcome = up("tasks", "submit", "--file", str(path))
    assert outcome.code == 4
    assert "collaboration.sequential.steps[1].type" in outcome.err
