from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import typer

from tests.support.command_line import CommandLine
from upbeat.cli import extensions
from upbeat.cli.extensions import GROUP


def offer(monkeypatch: pytest.MonkeyPatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr(
        extensions, "entry_points", lambda group: [each for each in entries if each.group == group]
    )


def register(app: typer.Typer) -> None:
    app.command("extra")(lambda: print("extra ran"))


def test_a_command_of_another_package_joins(
    upbeat_command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("extra", "nowhere:register", GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: register)
    offer(monkeypatch, entry)
    assert upbeat_command("extra").out == "extra ran\n"


def test_without_the_server_its_commands_say_how_to_get_them(
    upbeat_command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch)
    outcome = upbeat_command("serve", "--listen", "x", "more")
    assert outcome.code == 2
    assert "pip install 'upbeat[server]'" in outcome.err


def test_a_command_that_cannot_be_loaded_says_why_and_breaks_no_other(
    upbeat_command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, EntryPoint("serve", "not_there_at_all:register", GROUP))
    outcome = upbeat_command("serve")
    assert outcome.code == 2
    assert "'not_there_at_all' is missing" in outcome.err
    assert upbeat_command("--version").code == 0
