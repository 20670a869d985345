"""Which tasks a command is about: one by its id, or many by what they have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from upbeat.cli.completion import among, task_ids, task_types
from upbeat.cli.inputs import enum_number, pairs
from upbeat.cli.task_tables import state_name
from upbeat.v1.task_pb2 import Task
from upbeat.v1.task_spec_pb2 import Priority

TaskIdArgument = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", autocompletion=task_ids)]


@dataclass(frozen=True)
class QueryOptions:
    """The options that narrow a list of tasks."""

    query: Annotated[
        str,
        typer.Option(
            "--filter",
            "-f",
            metavar="FILTER",
            help="Comparisons joined by AND, such as 'state = FAILED AND labels.team = \"a\"'.",
        ),
    ] = ""
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            help="pending, queued, running, completed, failed or cancelled.",
            autocompletion=among("pending", "queued", "running", "completed", "failed", "cancelled"),
        ),
    ] = None
    task_type: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Only this task type.", autocompletion=task_types),
    ] = None
    priority: Annotated[
        str | None,
        typer.Option(
            "--priority",
            "-p",
            help="low, normal, high or critical.",
            autocompletion=among("low", "normal", "high", "critical"),
        ),
    ] = None
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="Only with this label; may repeat."),
    ] = None
    roots: Annotated[bool, typer.Option("--roots", help="Without the children of collaborations.")] = False

    @property
    def filter(self) -> str:
        """All of them as one filter expression."""
        parts = [self.query.strip()] if self.query.strip() else []
        if self.state is not None:
            number = enum_number(Task.State, "STATE_", self.state, "--state")
            parts.append(f"state = {state_name(Task.State.ValueType(number))}")
        if self.task_type is not None:
            parts.append(f"type = {json.dumps(self.task_type)}")
        if self.priority is not None:
            number = enum_number(Priority, "PRIORITY_", self.priority, "--priority")
            parts.append(f"priority = {Priority.Name(Priority.ValueType(number)).removeprefix('PRIORITY_')}")
        labels = pairs(self.label, "--label")
        parts.extend(
            f"labels.{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in labels.items()
        )
        if self.roots:
            parts.append('parent = ""')
        return " AND ".join(parts)
