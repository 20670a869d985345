"""The README is true: its commands exist, its links lead somewhere, its programs run as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAM_S = 60


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def programs() -> dict[str, str]:
    """The Python blocks under the file names in their first lines."""
    return {block.split("\n", 1)[0].removeprefix("# "): block for block in blocks("python")}


def documents() -> dict[str, str]:
    """The YAML blocks under the file names in their first lines."""
    return {block.split("\n", 1)[0].removeprefix("# "): block for block in blocks("yaml")}


def commands() -> list[list[str]]:
    """The words of every shell command."""
    return [shlex.split(line) for block in blocks("sh") for line in block.splitlines() if line.strip()]


def run(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A finished child process."""
    return subprocess.run(
        arguments,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
    )


def test_the_two_commands_stand_at_the_top() -> None:
    assert re.match(r"# upbeat\n\n    make run .*\n    make test .*\n", README)


def test_every_target_of_make_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    code = "\n".join(re.findall(r"`[^`]+`|^    .*", README, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", code))
    assert {"run", "test"} <= named <= targets


def test_every_link_leads_to_a_file_of_the_tree() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("words", [words for words in commands() if words[0] == "upbeat"], ids=" ".join)
def test_every_command_of_upbeat_that_is_named_exists(words: list[str], tmp_path: Path) -> None:
    path = [word for word in words[1:3] if re.fullmatch(r"[a-z]+", word)]
    help_text = run([sys.executable, "-m", "upbeat", *path, "--help"], tmp_path, TERM="dumb", COLUMNS="200")
    assert help_text.returncode == 0, help_text.stderr
    for option in (word for word in words if word.startswith("--")):
        assert option in help_text.stdout


def test_the_programs_work_together_as_printed(tmp_path: Path) -> None:
    with ServerProcess("memory", tmp_path) as server:
        for name, text in programs().items():
            (tmp_path / name).write_text(text.replace("localhost:50051", server.address), encoding="utf-8")
        for name, text in documents().items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        agents = [subprocess.Popen([sys.executable, "agent.py"], cwd=tmp_path) for _ in range(3)]
        try:
            caller = run([sys.executable, "caller.py"], tmp_path)
            together = run([sys.executable, "together.py"], tmp_path)
            submitted = [
                run([sys.executable, "-m", *words], tmp_path, UPBEAT_SERVER=server.address)
                for words in commands()
                if "submit" in words
            ]
        finally:
            for agent in agents:
                agent.terminate()
        assert [agent.wait(PROGRAM_S) for agent in agents] == [0, 0, 0]
    assert (caller.returncode, caller.stdout) == (0, "4\n"), caller.stderr
    assert together.returncode == 0, together.stderr
    vote, race, *items, nested = together.stdout.splitlines()
    # With all ballots alike two of three decide, and the third need not be waited for.
    assert vote in {f"4 words, {ballots} ballots, 0 dissent" for ballots in (2, 3)}
    assert race == "4 words, says the first of two"
    assert sorted(items) == ["item 0: 4 words", "item 1: 2 words"]
    assert nested == "Count(words=4)"
    assert [one.returncode for one in submitted] == [0, 0, 0], [one.stderr for one in submitted]
    assert ['"words": 4' in one.stdout for one in submitted] == [True, False, False]
    assert '"words": 3' in submitted[1].stdout
