"""What the commands share that work on the file of a store, not on a server."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.options import CommonOptions, Format
from upbeat.cli.screen import Screen
from upbeat_server.commands.serve import load_or_fail
from upbeat_server.store.address import file_of
from upbeat_server.store.sqlite_backup import TargetExists
from upbeat_server.store.store import StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

StoreOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="sqlite:PATH; else what the server's settings say."),
]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The server's settings as TOML; UPBEAT_CONFIG.")
]
OutputOption = Annotated[Format | None, typer.Option("--output", "-o", help="table or json.")]


def path_of(store: str | None, config: Path | None) -> Path:
    """The file of the store that is meant. Raises Failure if it has none."""
    settings = load_or_fail(config, {"store.address": store}).settings
    try:
        return file_of(settings.store.address)
    except StoreInvalid as error:
        raise Failure(ExitCode.USAGE, str(error)) from None


def screen_of(context: typer.Context, output: Format | None) -> Screen:
    """Where to write; the form may also stand ahead of the command's name."""
    outer = context.find_root().obj
    chosen = output or (outer.output if isinstance(outer, CommonOptions) else None)
    return Screen(as_json=chosen is Format.JSON)


@contextmanager
def told_as_failure() -> Iterator[None]:
    """What a store raises, as the command line tells it."""
    try:
        yield
    except TargetExists as error:
        raise Failure(ExitCode.REFUSED, str(error)) from None
    except (StoreInvalid, StoreUnavailable) as error:
        raise Failure(ExitCode.UNAVAILABLE, str(error)) from None
