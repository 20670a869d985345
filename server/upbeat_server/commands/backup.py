"""``upbeat backup``: a copy of a store, also while a server writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from upbeat_server.clock import stopwatch_s
from upbeat_server.commands.store_file import (
    ConfigOption,
    OutputOption,
    StoreOption,
    path_of,
    screen_of,
    told_as_failure,
)
from upbeat_server.store.sqlite_backup import back_up


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("backup")(backup)


def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The file to write the copy to.")],
    store: StoreOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace TARGET if it exists.")] = False,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Copy a store to a file, also while a server has it open.

    The copy is one moment of the store: everything acknowledged before the command was started is in it.
    To restore it, stop the server, put the copy in the place of the store (no -wal or -shm file may
    stand beside it) and start the server. `upbeat check` looks at it more closely.
    """
    screen = screen_of(context, output)
    began_s = stopwatch_s()
    with told_as_failure():
        contents = back_up(path_of(store, config), target, replaces=force)
    facts = {
        "target": str(target),
        **msgspec.to_builtins(contents),
        "seconds": round(stopwatch_s() - began_s, 3),
    }
    if screen.as_json:
        screen.document(facts)
    else:
        screen.facts(
            [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in facts.items()]
        )
