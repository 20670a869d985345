"""``upbeat tasks``: submit, look at, follow and end tasks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from upbeat.cli.collaboration_tables import MODES
from upbeat.cli.collaborations import append, close, grade
from upbeat.cli.documents import document
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.inputs import seconds
from upbeat.cli.invocation import Invocation
from upbeat.cli.operations import cancel, retry
from upbeat.cli.options import CommonOptions, grouped
from upbeat.cli.pauses import pause, resume
from upbeat.cli.submission import submit
from upbeat.cli.task_query import QueryOptions, TaskIdArgument
from upbeat.cli.task_tables import FINISHED, LIST_HEADS, LIST_LEAST, show_explanation, show_task, task_row
from upbeat.cli.tree import tree
from upbeat.cli.waiting import wait_for_end
from upbeat.cli.watching import watch
from upbeat.v1.task_pb2 import Task
from upbeat.v1.task_service_pb2 import ExplainTaskRequest, GetTaskRequest, ListTasksRequest

_PAGE_SIZE = 1000

app = typer.Typer(
    help="Submit, look at, follow and end tasks.", no_args_is_help=True, rich_markup_mode="rich"
)


@app.command("get")
@grouped
def get_task(
    context: typer.Context,
    task_id: TaskIdArgument,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until it has ended (exit 1 unless COMPLETED).")
    ] = False,
    wait_timeout: Annotated[
        str | None,
        typer.Option(
            "--wait-timeout", metavar="DURATION", help="As --wait, but give up after this long (exit 8)."
        ),
    ] = None,
    *,
    common: CommonOptions,
) -> Any:
    """Show all about one task; of a collaboration with what it came to."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    is_waited = wait or wait_timeout is not None
    if is_waited:
        timeout_s = None if wait_timeout is None else seconds(wait_timeout, "--wait-timeout")
        task = wait_for_end(invocation, task_id, timeout_s)
    else:
        request = GetTaskRequest(namespace=invocation.namespace, task_id=task_id)
        task = connection.call(connection.tasks.GetTask, request).task
    if screen.as_json:
        screen.document(task)
    else:
        show_task(screen, task, _winner_of(invocation, task))
    return ExitCode.TASK_FAILED if is_waited and task.state != Task.STATE_COMPLETED else ExitCode.OK


def _winner_of(invocation: Invocation, task: Task) -> Task | None:
    """The child that won, where there is one and it is still kept."""
    connection, winner_id = invocation.connection, task.collaboration_result.winner_task_id
    if not winner_id:
        return None
    request = GetTaskRequest(namespace=invocation.namespace, task_id=winner_id)
    try:
        return connection.call(connection.tasks.GetTask, request).task
    except Failure as failure:
        if failure.code != ExitCode.NOT_FOUND:
            raise
        return None


@app.command("list")
@grouped
def list_tasks(
    context: typer.Context,
    options: QueryOptions,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most this many; 0 means all.")] = 50,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="The oldest first instead of the newest.")
    ] = False,
    *,
    common: CommonOptions,
) -> Any:
    """List tasks, the newest first."""
    invocation = Invocation.of(context, common)
    screen = invocation.screen
    order = "create_time" if oldest_first else "create_time desc"
    tasks, is_more = _listed(invocation, options.filter, order, limit)
    if screen.as_json:
        screen.document({"tasks": [document(task) for task in tasks]})
    elif tasks:
        screen.table(LIST_HEADS, (task_row(task) for task in tasks), least=LIST_LEAST)
    else:
        screen.say("no tasks match" if options.filter else "no tasks yet", style="dim")
        if options.task_type in MODES:
            screen.say(
                "a collaboration has no type: --roots lists them among what was submitted", style="dim"
            )
    if is_more:
        screen.say(f"the first {limit:,} of more; --limit 0 lists all", style="dim")


def _listed(invocation: Invocation, query: str, order: str, limit: int) -> tuple[list[Task], bool]:
    """The first ``limit`` tasks (0: all), and whether there are more."""
    connection = invocation.connection
    tasks: list[Task] = []
    request = ListTasksRequest(namespace=invocation.namespace, filter=query, order_by=order)
    while True:
        request.page_size = min(_PAGE_SIZE, limit - len(tasks)) if limit else _PAGE_SIZE
        answer = connection.call(connection.tasks.ListTasks, request)
        tasks.extend(answer.tasks)
        if not answer.next_page_token or (limit and len(tasks) >= limit):
            return tasks, bool(answer.next_page_token)
        request.page_token = answer.next_page_token


@app.command("explain")
@grouped
def explain_task(context: typer.Context, task_id: TaskIdArgument, common: CommonOptions) -> None:
    """Say why a task waits, or why its agent was chosen."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    request = ExplainTaskRequest(namespace=invocation.namespace, task_id=task_id)
    answer = connection.call(connection.tasks.ExplainTask, request)
    if screen.as_json:
        screen.document(answer)
        return
    show_explanation(screen, task_id, answer)
    if answer.state in FINISHED:
        screen.say(f"it has ended: upbeat tasks get {task_id}", style="dim")


app.command("submit")(grouped(submit))
app.command("cancel")(grouped(cancel))
app.command("retry")(grouped(retry))
app.command("watch")(grouped(watch))
app.command("tree")(grouped(tree))
app.command("grade")(grouped(grade))
app.command("append")(grouped(append))
app.command("close")(grouped(close))
app.command("pause")(grouped(pause))
app.command("resume")(grouped(resume))
