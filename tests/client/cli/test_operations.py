"""Tasks that are cancelled or run again, by id and many at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from upbeat.cli import operations
from upbeat.cli.screen import Screen


def failed(up: CommandLine, label: str) -> str:
    outcome = up("tasks", "submit", "fail", "--label", f"t={label}")
    task_id = outcome.out.strip()
    assert up("tasks", "get", task_id, "--wait").code == 1
    return task_id


def test_a_task_is_run_again_once_and_once_more_under_another_request_id(up: CommandLine) -> None:
    task_id = failed(up, "once")
    first = up("tasks", "retry", task_id)
    assert first.code == 0
    assert first.rows[0][2:] == ["retry", "of", task_id]
    new_id = first.rows[0][0]
    (again,) = up("tasks", "retry", task_id, "-o", "json").document["tasks"]
    assert again["task_id"] == new_id
    assert again["spec"]["labels"]["upbeat.retry_of"] == task_id
    assert up("tasks", "retry", task_id, "--request-id", "r2").rows[0][0] != new_id


def test_what_cannot_be_run_again_is_told_and_the_others_are(up: CommandLine) -> None:
    task_id = failed(up, "others")
    outcome = up("tasks", "retry", "00000000000000ff", task_id)
    assert (outcome.code, len(outcome.rows)) == (3, 1)
    assert "00000000000000ff: there is no task" in outcome.err
    done = up("tasks", "submit", "echo", "1", "--wait-timeout", "30s", "-o", "json").document["task_id"]
    assert up("tasks", "retry", done).code == 4


def test_many_are_counted_first_and_then_done(up: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "PORTION", 2)  # So that there are several calls.
    many = ("--label", "t=many", "--state", "failed")
    for _ in range(5):
        failed(up, "many")
    assert up("tasks", "retry", *many, "--dry-run").out == "5 tasks would be retried\n"
    assert up("tasks", "retry", *many, "--dry-run", "--limit", "3").out == "3 tasks would be retried\n"
    refused = up("tasks", "retry", *many)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    told = up("tasks", "retry", *many, "--yes", "-o", "json").document
    assert (told["matched"], told["retried"], told["dry_run"], told["problems"]) == (5, 5, False, [])
    for _ in range(3):
        up("tasks", "submit", "nobody", "--label", "t=waiting")
    assert up("tasks", "cancel", "--label", "t=waiting", "--yes").out == "cancelled 3 of 3 tasks\n"
    assert up("tasks", "cancel", "--label", "t=waiting", "--dry-run").out == "0 tasks would be cancelled\n"


@pytest.mark.parametrize(("answer", "words"), [("n", "nothing was changed"), ("y", "cancelled 1 of 1 task")])
def test_a_person_is_asked(up: CommandLine, monkeypatch: pytest.MonkeyPatch, answer: str, words: str) -> None:
    asked: list[str] = []

    def confirm(question: str, *, err: bool) -> bool:
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr(Screen, "is_interactive", True)
    monkeypatch.setattr("typer.confirm", confirm)
    up("tasks", "submit", "nobody", "--label", f"t=asked-{answer}")
    outcome = up("tasks", "cancel", "--label", f"t=asked-{answer}")
    assert (outcome.code, asked) == (0, ["cancel 1 task?"])
    assert words in outcome.out + outcome.err
    assert "no tasks match" in up("tasks", "cancel", "--label", "t=none-of-them").err


@pytest.mark.parametrize(
    "arguments",
    [
        ("cancel",),
        ("retry",),
        ("cancel", "0" * 16, "--type", "x"),
        ("cancel", "0" * 16, "--dry-run"),
        ("retry", "--type", "x", "--request-id", "r", "--yes"),
        ("retry", "0" * 16, "1" * 16, "--request-id", "r"),
    ],
)
def test_ids_and_filters_exclude_each_other(up: CommandLine, arguments: tuple[str, ...]) -> None:
    assert up("tasks", *arguments).code == 2


def test_a_problem_of_some_is_told_and_is_no_success(up: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("collaboration: {sequential: {steps: [{type: fail}]}}")
    submitted = up("tasks", "submit", "--file", str(tmp_path / "c.yaml"))
    whole = submitted.out.strip()
    assert up("tasks", "get", whole, "--wait").code == 1
    outcome = up("tasks", "retry", "--filter", f'parent = "{whole}"', "--yes")
    assert outcome.code == 4
    assert outcome.out == "retried 0 of 1 task\n"
    assert "NOT_RETRYABLE" in outcome.err


def test_types_are_listed_with_who_offers_them(up: CommandLine) -> None:
    assert ["echo", "-", "1", "2"] in [row[:4] for row in up("types", "list").rows]
    known = {item["type"]: item for item in up("types", "list", "-o", "json").document["types"]}
    free = known["fail"]["free"]
    assert known["fail"] == {"type": "fail", "paused": False, "agents": 1, "slots": 2, "free": free}


def test_types_that_are_paused_are_marked_also_when_nobody_offers_them(up: CommandLine) -> None:
    assert up("types", "pause", "fail", "offered-by-none").code == 0
    rows = up("types", "list").rows
    assert ["fail", "PAUSED", "1", "2"] in [row[:4] for row in rows]
    assert ["offered-by-none", "PAUSED", "0", "0", "0"] in rows
    known = {item["type"]: item["paused"] for item in up("types", "list", "-o", "json").document["types"]}
    assert (known["echo"], known["fail"], known["offered-by-none"]) == (False, True, True)
    assert up("types", "resume", "fail", "offered-by-none").code == 0
    assert "PAUSED" not in up("types", "list").out
