"""Commands of other packages: the entry-point group ``upbeat.commands``.

Each entry point is a function ``register(app: typer.Typer) -> None``. One that
cannot be loaded (an extra is not installed, say) never breaks the rest: its name
stays as a command that tells why.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import typer

from upbeat.cli.failure import ExitCode, Failure

GROUP = "upbeat.commands"

_SERVER_COMMANDS = {
    # A backslash keeps the bracket from being read as markup by the help page.
    "serve": "Run a server (needs: pip install 'upbeat\\[server]').",
    "backup": "Copy a store (needs: pip install 'upbeat\\[server]').",
    "check": "Check a store (needs: pip install 'upbeat\\[server]').",
    "demo": "Watch a fleet at work on real files (needs: pip install 'upbeat\\[server]').",
}
_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


def add_extensions(app: typer.Typer) -> None:
    """Add what the installed packages offer, and a hint for each server command that is missing."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for name in sorted(found):
        try:
            found[name].load()(app)
        except ImportError as error:
            _add_hint(
                app, name, _SERVER_COMMANDS.get(name, "Not available here."), _cause(found[name], error)
            )
    for name, summary in _SERVER_COMMANDS.items():
        if name not in found:
            _add_hint(app, name, summary, "it is part of the server, which is not installed")


def _cause(entry: EntryPoint, error: ImportError) -> str:
    missing = f"the package {error.name!r} is missing" if error.name else str(error)
    return f"{missing} (asked for by {entry.value})"


def _add_hint(app: typer.Typer, name: str, summary: str, cause: str) -> None:
    def hint() -> None:
        raise Failure(
            ExitCode.USAGE,
            f"`upbeat {name}` is not available: {cause}",
            remedy="install it with: pip install 'upbeat[server]'",
        )

    app.command(name, help=summary, context_settings=_ANYTHING)(hint)
