"""The command ``upbeat``: puts the commands together and turns whatever happens into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # Failures are told by us; read when grpc is imported.

import typer

from upbeat.cli import agents, bus, profiles, stats, tasks, top, types
from upbeat.cli.extensions import add_extensions
from upbeat.cli.failure import MEANINGS, ExitCode, Failure
from upbeat.cli.options import CommonOptions, grouped
from upbeat.cli.screen import Screen

_EPILOG = "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."


def build_app() -> typer.Typer:
    """All commands, those of other installed packages included."""
    app = typer.Typer(
        name="upbeat",
        help="Coordinate fleets of agents: submit tasks, follow them, see who works on what.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(grouped(_root))
    app.add_typer(tasks.app, name="tasks")
    app.add_typer(agents.app, name="agents")
    app.add_typer(types.app, name="types")
    app.add_typer(bus.app, name="bus")
    app.add_typer(profiles.app, name="profile")
    app.command("stats")(grouped(stats.stats))
    app.command("top")(grouped(top.top))
    app.command("health")(grouped(stats.health))
    add_extensions(app)
    return app


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"upbeat {_version()}")
        raise typer.Exit


def _root(
    context: typer.Context,
    common: CommonOptions,
    show_version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    context.obj = common


def _version() -> str:
    try:
        return version("upbeat")
    except PackageNotFoundError:
        return "(not installed)"


def run(arguments: Sequence[str] | None = None) -> int:
    """One run of the command line; the exit code. Prints every failure, raises none."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        build_app()(args=[_as_unicode(argument) for argument in given], prog_name="upbeat")
    except Failure as failure:
        Screen().fail(failure)
        return failure.code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK if end.code is None else ExitCode.DEFECT
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except UnicodeEncodeError:
        Screen().fail(Failure(ExitCode.USAGE, "an argument or variable holds bytes that are not UTF-8"))
        return ExitCode.USAGE
    except Exception as error:
        if os.environ.get("UPBEAT_DEBUG"):
            raise
        Screen().fail(
            Failure(
                ExitCode.DEFECT,
                f"a defect of this command: {type(error).__name__}: {error}",
                remedy="UPBEAT_DEBUG=1 shows where; please report it",
            )
        )
        return ExitCode.DEFECT
    return ExitCode.OK


def _as_unicode(argument: str) -> str:
    """An argument as UTF-8 whatever the locale says; bytes that are none stay surrogates."""
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


def main() -> None:
    """The entry point of the command ``upbeat``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run())


if __name__ == "__main__":
    main()
