"""``python -m upbeat_server``: the server's commands without an installed command line."""

from __future__ import annotations

import sys

import typer

from upbeat.cli.failure import Failure
from upbeat.cli.screen import Screen
from upbeat_server.commands import backup, check, config, serve


def main(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    app = typer.Typer(
        name="upbeat_server",
        help="The upbeat server.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    serve.register(app)
    config.register(app)
    backup.register(app)
    check.register(app)
    try:
        app(args=arguments, prog_name="upbeat_server")
    except Failure as failure:
        Screen().fail(failure)
        return failure.code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
