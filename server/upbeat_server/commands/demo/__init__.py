"""``upbeat demo``: a server and a fleet of agents at work on real files, one of them killed half way.

Then the agents work together on what they found: they vote, race and stream.

The pieces: ``corpus`` finds the files, ``reviews`` is what is done with each,
``agents`` the program that does it, ``skills`` what both sides agree on,
``roster`` who takes part, ``processes`` starts and ends them, ``campaign`` sends
the tasks, ``ledger`` asks the server what became of them, ``collaborations`` sends
what is done together (``ballots``, ``search`` and ``stages`` are the work in it,
``outcomes`` what it came to), ``board`` shows all of it under way, ``report`` and
``outcome_report`` tell the end, ``hints`` what to try next, and ``demonstration``
is the order of events.

Only this file is loaded with every run of ``upbeat``: it imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upbeat.cli.options import CommonOptions, Format


def register(app: typer.Typer) -> None:
    """Add the command; called through the entry-point group ``upbeat.commands``."""
    app.command("demo")(demo)


def demo(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="DIR", help="Review this tree; default: Python's standard library."),
    ] = None,
    agents: Annotated[int, typer.Option("--agents", metavar="N", min=1, max=64, help="Agent processes.")] = 6,
    kill: Annotated[bool, typer.Option("--kill/--no-kill", help="Kill one agent half way.")] = True,
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave server and agents up afterwards, until Ctrl-C.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Only about a hundred of the files.")] = False,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="ADDRESS", help="sqlite:PATH or memory; default: a temporary SQLite."
        ),
    ] = None,
    output: Annotated[
        Format | None, typer.Option("--output", "-o", help="Form of the report: table or json.")
    ] = None,
) -> None:
    """Watch a fleet review a thousand files while one agent is killed, then work together.

    Exit 1 if anything is lost.
    """
    from upbeat.cli.screen import Screen
    from upbeat_server.commands.demo.demonstration import DemoOptions, demonstrate

    outer = context.find_root().obj
    chosen = output or (outer.output if isinstance(outer, CommonOptions) else None)
    options = DemoOptions(path=path, agents=agents, kill=kill, stay=stay, quick=quick, store=store)
    if code := demonstrate(options, Screen(as_json=chosen is Format.JSON)):
        raise typer.Exit(code)
