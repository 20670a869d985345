"""``upbeat tasks grade``, ``append`` and ``close``: what is done to collaborations from outside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from upbeat.cli.inputs import payload, usage
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions
from upbeat.cli.task_query import TaskIdArgument
from upbeat.v1.collaboration_service_pb2 import AppendItemsRequest, CloseItemsRequest, GradeTaskRequest


def grade(
    context: typer.Context,
    task_id: TaskIdArgument,
    right: Annotated[
        bool | None,
        typer.Option("--right/--wrong", help="Whether the output was right.", show_default=False),
    ] = None,
    *,
    common: CommonOptions,
) -> None:
    """Say whether the output of a completed task was right; the last grade counts.

    Of a collaboration its children are graded: see them with upbeat tasks tree.
    """
    invocation = Invocation.of(context, common)
    if right is None:
        raise usage("was it right?", "give --right or --wrong")
    connection, screen = invocation.connection, invocation.screen
    request = GradeTaskRequest(namespace=invocation.namespace, task_id=task_id, correct=right)
    answer = connection.call_again(connection.collaborations.GradeTask, request)
    if screen.as_json:
        screen.document(answer)
    else:
        screen.line(answer.agent_id, f"{answer.correct_count:,} of {answer.graded_count:,} right")


def append(
    context: typer.Context,
    task_id: TaskIdArgument,
    item: Annotated[
        list[str] | None,
        typer.Option(
            "--item",
            metavar="ITEM|@FILE|-",
            help="An item: JSON or text, @FILE, or - for standard input; may repeat.",
        ),
    ] = None,
    first_index: Annotated[
        int | None,
        typer.Option(
            "--first-index",
            min=0,
            help="Index of the first of them among all items: makes it safe to repeat.",
            show_default=False,
        ),
    ] = None,
    *,
    common: CommonOptions,
) -> None:
    """Add items to an open pipeline; prints how many there are."""
    invocation = Invocation.of(context, common)
    if not item:
        raise usage("no items are given", "give --item once for each")
    request = AppendItemsRequest(
        namespace=invocation.namespace, task_id=task_id, items=[payload(text, None) for text in item]
    )
    connection = invocation.connection
    call: Any = connection.call
    if first_index is not None:
        request.first_index = first_index
        call = connection.call_again  # Without an index a repeat would append them twice.
    _tell_count(invocation, call(connection.collaborations.AppendItems, request))


def close(context: typer.Context, task_id: TaskIdArgument, common: CommonOptions) -> None:
    """Say that no further items come to an open pipeline; prints how many there are."""
    invocation = Invocation.of(context, common)
    connection = invocation.connection
    request = CloseItemsRequest(namespace=invocation.namespace, task_id=task_id)
    _tell_count(invocation, connection.call_again(connection.collaborations.CloseItems, request))


def _tell_count(invocation: Invocation, answer: Any) -> None:
    if invocation.as_json:
        invocation.screen.document(answer)
    else:
        invocation.screen.line(str(answer.item_count))
