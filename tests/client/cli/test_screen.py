from __future__ import annotations

import io

import pytest
import typer
from rich.console import Console

from tests.support.command_line import EVIL, is_harmless
from upbeat.cli import agents, bus, task_tables
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.screen import Screen, columns, fitting, stated, write_line


def drawn(width: int, heads: tuple[str, ...], row: tuple[str, ...]) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(columns(heads, [row]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_narrow_table_cuts_texts_and_keeps_numbers_and_the_first_column() -> None:
    heads = ("TASK", "STATE!", "AGE#", "NOTE")
    lines = drawn(44, heads, ("0000010000000001", "CANCELLED", "123,456", "a rather long note about it"))
    assert len(lines) == 2
    assert "0000010000000001" in lines[1]
    assert "CANCELLED" in lines[1]
    assert "123,456" in lines[1]
    assert "…" in lines[1]


def kept(width: int) -> list[str]:
    """The heads of a table that fits."""
    heads = ("TASK", "TYPE", "STATE!", "AGE#", "NOTE")
    row = ("0000010000000001", "review", "CANCELLED", "123", "a rather long note about it")
    return [heads[number] for number in fitting(heads, [row], width, ("AGE", "NOTE", "TYPE"))]


def test_a_narrow_table_does_without_what_matters_least() -> None:
    assert kept(58) == ["TASK", "TYPE", "STATE!", "AGE#", "NOTE"]  # Of the note 16 characters.
    assert kept(57) == ["TASK", "TYPE", "STATE!", "NOTE"]
    assert kept(52) == ["TASK", "TYPE", "STATE!"]
    assert kept(34) == ["TASK", "STATE!"]
    assert kept(10) == ["TASK", "STATE!"]


def test_what_a_table_can_do_without_are_columns_that_it_has() -> None:
    for heads, least in (
        (task_tables.LIST_HEADS, task_tables.LIST_LEAST),
        (agents.HEADS, agents._LEAST),
        (bus.HEADS, bus._LEAST),
    ):
        assert set(least) < {head.rstrip("#!") for head in heads[1:]}


def test_a_table_in_a_pipe_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    note = "x" * 500
    Screen().table(("TASK", "NOTE"), [("1", note)])
    assert capsys.readouterr().out == f"TASK  NOTE\n1     {note}\n"


def test_markup_and_controls_in_cells_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.table(("A", "B"), [(EVIL, stated(EVIL))])
    screen.line(EVIL)
    screen.facts([(EVIL, EVIL)])
    screen.say(EVIL)
    captured = capsys.readouterr()
    assert captured.out.count("[red]not red[/red]") == 4 + 1
    assert is_harmless(captured.out)
    assert is_harmless(captured.err)


def test_a_failure_says_what_where_and_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(
        ExitCode.REFUSED,
        "two things\nare wrong",
        reason="INVALID_FIELD",
        violations=(("a.b", EVIL),),
        remedy="do x",
    )
    Screen().fail(failure)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: two things\n  are wrong (INVALID_FIELD)\n  a.b: [red]")
    assert captured.err.endswith("\n  do x\n")
    assert is_harmless(captured.err)


def test_a_document_is_one_json_text(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=True).document({"text": EVIL})
    assert is_harmless(capsys.readouterr().out)


class _Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        return self.target

    def __init__(self, target: int) -> None:
        super().__init__()
        self.target = target


def test_a_reader_that_left_ends_the_command_quietly(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("out") / "out"
    with path.open("w") as file:
        monkeypatch.setattr("sys.stdout", _Closed(file.fileno()))
        with pytest.raises(typer.Exit) as caught:
            write_line("x")
    assert caught.value.exit_code == ExitCode.BROKEN_PIPE
