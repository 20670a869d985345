"""``upbeat config show``: every setting of the server, its value, and where that came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upbeat.cli.options import CommonOptions, Format
from upbeat.cli.screen import Screen
from upbeat_server.commands.serve import load_or_fail


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    config = typer.Typer(help="The server's settings.", no_args_is_help=True)
    config.command("show")(show)
    # A callback keeps `show` a command of its own; with one command alone Typer drops its name.
    config.callback()(lambda: None)
    app.add_typer(config, name="config")


def show(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings as TOML; UPBEAT_CONFIG.")
    ] = None,
    output: Annotated[Format | None, typer.Option("--output", "-o", help="table or json.")] = None,
) -> None:
    """Show the settings that `upbeat serve` would use here. Secrets are not shown."""
    rows = load_or_fail(config, {}).describe()
    outer = context.find_root().obj
    chosen = output or (outer.output if isinstance(outer, CommonOptions) else None)
    screen = Screen(as_json=chosen is Format.JSON)
    if screen.as_json:
        screen.document([{"key": key, "value": value, "source": source} for key, value, source in rows])
    else:
        screen.table(("SETTING", "VALUE", "SOURCE"), rows)
