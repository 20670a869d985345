"""What the shell offers, asked as a shell asks."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine


class Shell:
    """A shell in which Tab is pressed."""

    def __init__(self, command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._command = command
        self._monkeypatch = monkeypatch

    def tab(self, line: str) -> list[str]:
        """What is offered for the last word."""
        words = line.split(" ")
        with self._monkeypatch.context() as patch:
            patch.setenv("_UPBEAT_COMPLETE", "complete_bash")
            patch.setenv("COMP_WORDS", line)
            patch.setenv("COMP_CWORD", str(len(words) - 1))
            outcome = self._command()
        assert outcome.err == ""
        return outcome.out.split()


@pytest.fixture
def shell(up: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(up, monkeypatch)


def test_names_of_agents_types_tasks_and_profiles_are_offered(shell: Shell, up: CommandLine) -> None:
    task_id = up("tasks", "submit", "nobody").out.strip()
    up("profile", "add", "production", "--server", "h:1")
    assert shell.tab("upbeat agents get te") == ["tester-1"]
    assert shell.tab("upbeat types pause e") == ["echo"]
    assert shell.tab("upbeat tasks submit w") == ["wait"]
    assert shell.tab(f"upbeat tasks get {task_id[:-1]}")[0][:-1] == task_id[:-1]
    assert shell.tab("upbeat tasks list --state qu") == ["queued"]
    assert shell.tab("upbeat --profile pr") == ["production"]


def test_a_server_that_is_not_there_offers_nothing_and_says_nothing(shell: Shell, up: CommandLine) -> None:
    for line in ("agents get te", "types pause e", "tasks get 0"):
        assert shell.tab(f"upbeat --server 127.0.0.1:1 {line}") == []
    assert shell.tab("upbeat --profile nowhere agents get te") == []


def test_commands_are_offered(shell: Shell) -> None:
    assert shell.tab("upbeat tasks ret") == ["retry"]
