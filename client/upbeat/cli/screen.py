"""Where a command writes: the answer to standard output, words to standard error.

Tables are plain columns, as wide as their content when standard output is not a
terminal (so that ``grep`` and ``awk`` see whole values) and fitted to the window
when it is. No cell is read as markup.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TextIO

import typer
from google.protobuf.message import Message
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from upbeat.cli.documents import document, dumps
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import visible

Cell = str | Text
_PIPE_WIDTH = 4096
_TEXT_WIDTH = 16
_GAP = 2

STATE_STYLES = {
    "PENDING": "dim",
    "QUEUED": "yellow",
    "RUNNING": "cyan",
    "COMPLETED": "green",
    "FAILED": "bold red",
    "CANCELLED": "magenta",
    "CONNECTED": "green",
    "SUSPECT": "yellow",
    "DRAINING": "magenta",
    "PAUSED": "magenta",
    "DISCONNECTED": "red",
    "SERVING": "green",
    "NOT_SERVING": "bold red",
    "CRITICAL": "bold red",
    "HIGH": "yellow",
    "LOW": "dim",
}


def stated(state: str) -> Text:
    """A state or priority in its colour."""
    return Text(visible(state), style=STATE_STYLES.get(state, ""))


class _QuietConsole(Console):
    """A console that leaves silently when its reader has gone."""

    def on_broken_pipe(self) -> None:
        leave_quietly()


class Screen:
    """The two outputs of one run of the command line."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = _QuietConsole(
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
            width=None if sys.stdout.isatty() else _PIPE_WIDTH,
        )
        self.err = _QuietConsole(
            stderr=True,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )

    @property
    def is_interactive(self) -> bool:
        """Whether somebody watches standard error."""
        return self.err.is_terminal and not self.err.is_dumb_terminal

    def document(self, value: Message | Any) -> None:
        """One JSON document."""
        plain = document(value) if isinstance(value, Message) else value
        write_line(dumps(plain, indent=2))

    def event(self, value: Message | Any) -> None:
        """One JSON line of a watch, at once."""
        write_line(dumps(document(value) if isinstance(value, Message) else value))

    def line(self, *parts: Cell) -> None:
        """One line for people, parts set apart by two spaces."""
        text = Text("  ").join(part if isinstance(part, Text) else Text(visible(part)) for part in parts)
        self.show(text)

    def show(self, renderable: RenderableType) -> None:
        """Anything rich can draw; cut or folded to the terminal, whole into a pipe."""
        if self.out.is_terminal:
            self.out.print(renderable)
            return
        with self.out.capture() as captured:
            self.out.print(renderable)
        for row in captured.get().splitlines():
            write_line(row.rstrip())

    def table(
        self, heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, least: Sequence[str] = ()
    ) -> None:
        """Rows under heads; see ``columns``.

        ``least`` names columns that are left out of a terminal that is too narrow, in this order.
        """
        if self.out.is_terminal and least:
            every = list(rows)
            kept = fitting(heads, every, self.out.width, least)
            heads, rows = [heads[number] for number in kept], ([row[at] for at in kept] for row in every)
        self.show(columns(heads, rows))

    def facts(self, pairs: Iterable[tuple[str, Cell]], *, indent: int = 0) -> None:
        """Names and values, one pair a line, long values folded beside their name."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in pairs:
            grid.add_row(
                visible(name), value if isinstance(value, Text) else Text(visible(value, lines=True))
            )
        self.show(Padding(grid, (0, 0, 0, indent)) if indent else grid)

    def say(self, message: str, *, style: str = "") -> None:
        """Words for whoever watches, on standard error."""
        self.err.print(Text(visible(message, lines=True), style=style))

    def fail(self, failure: Failure) -> None:
        """A failure in as few lines as say why, where and what next."""
        head = f"{failure.message} ({failure.reason})" if failure.reason else failure.message
        self.err.print(Text.assemble(("error: ", "bold red"), _indented(head)))
        for field, description in failure.violations:
            self.err.print(Text.assemble("  ", (visible(field), "bold"), f": {_indented(description)}"))
        if failure.remedy:
            self.err.print(Text(f"  {_indented(failure.remedy)}"))


def _indented(text: str) -> str:
    """Foreign text made harmless, its further lines beneath the first."""
    return visible(text, lines=True).replace("\n", "\n  ")


def fitting(
    heads: Sequence[str], rows: Iterable[Sequence[Cell]], width: int, least: Sequence[str]
) -> list[int]:
    """The columns that there is room for when those of ``least`` are left out, in their order.

    A text has room where ``_TEXT_WIDTH`` of it can be seen.
    """
    needed = [len(head.rstrip("#!")) for head in heads]
    for row in rows:
        needed = [max(most, len(cell)) for most, cell in zip(needed, row, strict=True)]
    for position, head in enumerate(heads[1:], 1):
        if not head.endswith(("#", "!")):
            needed[position] = min(needed[position], _TEXT_WIDTH)
    kept = list(range(len(heads)))
    names = [head.rstrip("#!") for head in heads]
    for name in least:
        if sum(needed[number] + _GAP for number in kept) - _GAP <= width:
            break
        kept.remove(names.index(name))
    return kept


def columns(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table of plain columns.

    Where it does not fit, texts are cut, the longest first; the first column, those
    of numbers (a head that ends with #) and those whose head ends with ! stay whole.
    """
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_edge=False)
    for position, head in enumerate(heads):
        is_number = head.endswith("#")
        table.add_column(
            Text(head.rstrip("#!"), no_wrap=True, overflow="ellipsis"),
            no_wrap=is_number or head.endswith("!") or position == 0,
            justify="right" if is_number else "left",
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Cell) -> Text:
    text = value.copy() if isinstance(value, Text) else Text(visible(value))
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def write_line(text: str) -> None:
    """One line to standard output, flushed; leaves silently when nobody reads it."""
    _write(sys.stdout, text)


def _write(stream: TextIO, text: str) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        leave_quietly()


def leave_quietly() -> NoReturn:
    """End because the reader of standard output has gone: nothing more is said."""
    # The interpreter flushes standard output once more at its end; that must not fail aloud.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(ExitCode.BROKEN_PIPE)
