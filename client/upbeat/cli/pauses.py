"""``upbeat tasks pause`` and ``resume``: hold back all tasks of a type, and let them go again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from upbeat.cli.formats import NOTHING, visible
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions
from upbeat.v1.agent_service_pb2 import PauseTypeRequest, ResumeTypeRequest

TypesArgument = Annotated[list[str], typer.Argument(metavar="TYPE...", help="Task types.")]


def pause(context: typer.Context, types: TypesArgument, *, common: CommonOptions) -> None:
    """Hand out no task of these types until they are resumed; what runs goes on."""
    _rule(Invocation.of(context, common), types, "PauseType", PauseTypeRequest)


def resume(context: typer.Context, types: TypesArgument, *, common: CommonOptions) -> None:
    """Hand out the tasks of these types again."""
    _rule(Invocation.of(context, common), types, "ResumeType", ResumeTypeRequest)


def _rule(invocation: Invocation, types: Iterable[str], method: str, request: Any) -> None:
    connection, screen = invocation.connection, invocation.screen
    answer: Any = None
    for task_type in types:
        asked = request(namespace=invocation.namespace, type=task_type)
        answer = connection.call_again(getattr(connection.agents, method), asked)
    if screen.as_json:
        screen.document({"paused_types": list(answer.paused_types)})
    else:
        screen.line("paused", ", ".join(map(visible, answer.paused_types)) or NOTHING)
