"""``upbeat check``: whether a store, or a backup of one, holds together."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from upbeat.cli.failure import ExitCode
from upbeat.cli.screen import Cell
from upbeat_server.clock import stopwatch_s
from upbeat_server.commands.store_file import (
    ConfigOption,
    OutputOption,
    StoreOption,
    path_of,
    screen_of,
    told_as_failure,
)
from upbeat_server.store.sqlite_check import Check, Violation


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("check")(check)


def check(
    context: typer.Context,
    store: StoreOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Check a store or a backup: its pages, its schema, and every task in it. Changes nothing.

    A server may have it open. Exit 0 if all is well, 1 if something is wrong, 5 if it cannot be read.
    """
    screen = screen_of(context, output)
    began_s = stopwatch_s()
    looked = Check(path_of(store, config))
    with told_as_failure():
        found = list(looked.violations())
    facts: dict[str, Any] = {
        **msgspec.to_builtins(looked.contents),
        "violations": len(found),
        "seconds": round(stopwatch_s() - began_s, 3),
    }
    if screen.as_json:
        screen.document({**facts, "violations": [_document(violation) for violation in found]})
    else:
        if found:
            screen.table(("TASK", "NAMESPACE", "WHAT IS WRONG"), [_row(violation) for violation in found])
        screen.facts([(name, f"{value:,}") for name, value in facts.items()])
    if found:
        raise typer.Exit(ExitCode.TASK_FAILED)


def _document(violation: Violation) -> dict[str, str]:
    task_id = f"{violation.task_id:016x}" if violation.task_id else ""
    return {"task_id": task_id, "namespace": violation.namespace, "text": violation.text}


def _row(violation: Violation) -> tuple[Cell, ...]:
    document = _document(violation)
    return document["task_id"] or "-", document["namespace"] or "-", document["text"]
