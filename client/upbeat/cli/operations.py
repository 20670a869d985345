"""``upbeat tasks cancel`` and ``retry``: tasks by id, or all that match.

Many at once are counted first, and whoever sits at a terminal is asked; a script says ``--yes``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from upbeat.cli.completion import task_ids
from upbeat.cli.documents import document
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import counted
from upbeat.cli.inputs import usage
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions
from upbeat.cli.screen import stated
from upbeat.cli.task_query import QueryOptions
from upbeat.cli.task_tables import state_name
from upbeat.v1.operations_service_pb2 import (
    BulkCancelTasksRequest,
    BulkRetryTasksRequest,
    RetryTaskRequest,
    TaskProblem,
)
from upbeat.v1.task_pb2 import Task
from upbeat.v1.task_service_pb2 import CancelTaskRequest

PORTION = 1_000

Request = TypeVar("Request", BulkCancelTasksRequest, BulkRetryTasksRequest)


@dataclass(frozen=True)
class ManyOptions:
    """How far many tasks at once may go."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what matches, change nothing.")] = False
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="Of what matches, the oldest so many; 0 means all.")
    ] = 0
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False


@dataclass
class Tally:
    """What became of many tasks."""

    matched: int = 0
    done: int = 0
    problem_count: int = 0
    problems: list[TaskProblem] | None = None


def cancel(
    context: typer.Context,
    task_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID...]", help="The tasks to cancel.", autocompletion=task_ids, show_default=False
        ),
    ] = None,
    *,
    options: QueryOptions,
    many: ManyOptions,
    message: Annotated[str, typer.Option("--message", "-m", help="Why; for the record and the agent.")] = "",
    common: CommonOptions,
) -> Any:
    """Cancel tasks by id, or all unfinished ones that match.

    Cancelling a CANCELLED task is fine. Ends with the code of the first that failed.
    """
    invocation = Invocation.of(context, common)
    connection = invocation.connection
    if not _is_many(task_ids, options, many):
        return _one_by_one(
            invocation, task_ids or [], lambda task_id: _cancelled(invocation, task_id, message)
        )

    def ask(limit: int, token: str, *, dry_run: bool) -> tuple[Tally, str]:
        request = BulkCancelTasksRequest(
            namespace=invocation.namespace,
            filter=options.filter,
            limit=limit,
            dry_run=dry_run,
            message=message,
            page_token=token,
        )
        answer = connection.call(connection.operations.BulkCancelTasks, request)
        tally = Tally(answer.matched, answer.cancelled, answer.problem_count, list(answer.problems))
        return tally, answer.next_page_token

    return _all(invocation, ("cancel", "cancelled"), many, ask)


def retry(
    context: typer.Context,
    task_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID...]", help="The tasks to run again.", autocompletion=task_ids, show_default=False
        ),
    ] = None,
    *,
    options: QueryOptions,
    many: ManyOptions,
    again: Annotated[
        str,
        typer.Option(
            "--request-id",
            metavar="ID",
            help="Of the new task; a task is retried once, and once more under another.",
        ),
    ] = "",
    common: CommonOptions,
) -> Any:
    """Run FAILED or CANCELLED tasks again, each as a new task: by id, or all that match.

    Without a --state those that FAILED. Repeating it makes no further task.
    """
    invocation = Invocation.of(context, common)
    connection = invocation.connection
    if not _is_many(task_ids, options, many):
        if again and len(task_ids or ()) != 1:
            raise usage("--request-id is for one task")
        return _one_by_one(invocation, task_ids or [], lambda task_id: _retried(invocation, task_id, again))
    if again:
        raise usage("--request-id is for one task")

    def ask(limit: int, token: str, *, dry_run: bool) -> tuple[Tally, str]:
        request = BulkRetryTasksRequest(
            namespace=invocation.namespace,
            filter=options.filter,
            limit=limit,
            dry_run=dry_run,
            page_token=token,
        )
        answer = connection.call(connection.operations.BulkRetryTasks, request)
        tally = Tally(answer.matched, answer.retried, answer.problem_count, list(answer.problems))
        return tally, answer.next_page_token

    return _all(invocation, ("retry", "retried"), many, ask)


def _is_many(task_ids: list[str] | None, options: QueryOptions, many: ManyOptions) -> bool:
    """Whether it is about a filter; raises Failure where it is about both or neither."""
    if task_ids and (options.filter or many != ManyOptions()):
        raise usage("give either ids or a filter", "--dry-run, --limit and --yes belong to a filter")
    if not task_ids and not options.filter:
        raise usage("which tasks?", "give ids, or a filter such as --type TYPE; --roots is all")
    return not task_ids


def _cancelled(invocation: Invocation, task_id: str, message: str) -> Task:
    connection = invocation.connection
    request = CancelTaskRequest(namespace=invocation.namespace, task_id=task_id, message=message)
    return connection.call_again(connection.tasks.CancelTask, request).task


def _retried(invocation: Invocation, task_id: str, request_id: str) -> Task:
    connection = invocation.connection
    request = RetryTaskRequest(namespace=invocation.namespace, task_id=task_id, request_id=request_id)
    return connection.call_again(connection.operations.RetryTask, request).task


def _one_by_one(invocation: Invocation, task_ids: list[str], act: Callable[[str], Task]) -> ExitCode:
    screen = invocation.screen
    answered: list[Task] = []
    code = ExitCode.OK
    for task_id in task_ids:
        try:
            task = act(task_id)
        except Failure as failure:
            if failure.code is ExitCode.UNAVAILABLE:
                raise
            failure.message = f"{task_id}: {failure.message}"
            screen.fail(failure)
            code = code or failure.code
            continue
        answered.append(task)
        if not screen.as_json:
            origin = f"retry of {task_id}" if task.task_id != task_id else ""
            screen.line(task.task_id, stated(state_name(task.state)), *([origin] if origin else []))
    if screen.as_json:
        screen.document({"tasks": [document(task) for task in answered]})
    return code


def _all(
    invocation: Invocation, words: tuple[str, str], many: ManyOptions, ask: Callable[..., tuple[Tally, str]]
) -> ExitCode:
    """Count, ask, act, tell."""
    screen, (verb, done) = invocation.screen, words
    if not many.yes and not many.dry_run and not screen.is_interactive:
        raise usage(f"many tasks would be {done}", "say --yes, or count them with --dry-run")
    counted_ones = _portions(many.limit, lambda limit, token: ask(limit, token, dry_run=True))
    if many.dry_run:
        return _tell(invocation, done, counted_ones, is_dry=True)
    if not counted_ones.matched:
        screen.say("no tasks match", style="dim")
    elif not many.yes and not typer.confirm(f"{verb} {counted(counted_ones.matched, 'task')}?", err=True):
        screen.say("nothing was changed", style="dim")
        return ExitCode.OK
    # No more than were counted, the oldest first: what is run again may fail at once, match, and be
    # looked at by the next call, without end.
    tally = Tally(problems=[])
    if counted_ones.matched:
        tally = _portions(counted_ones.matched, lambda limit, token: ask(limit, token, dry_run=False))
    return _tell(invocation, done, tally, is_dry=False)


def _portions(limit: int, ask: Callable[[int, str], tuple[Tally, str]]) -> Tally:
    """Call after call until all were looked at, or as many as are wanted."""
    total, token = Tally(problems=[]), ""
    while True:
        part, token = ask(min(PORTION, limit - total.matched) if limit else PORTION, token)
        total.matched += part.matched
        total.done += part.done
        total.problem_count += part.problem_count
        total.problems = [*(total.problems or ()), *(part.problems or ())]
        if not token or (limit and total.matched >= limit):
            return total


def _tell(invocation: Invocation, done: str, tally: Tally, *, is_dry: bool) -> ExitCode:
    screen, problems = invocation.screen, tally.problems or []
    if screen.as_json:
        screen.document(
            {
                "matched": tally.matched,
                done: tally.done,
                "dry_run": is_dry,
                "problem_count": tally.problem_count,
                "problems": [document(problem) for problem in problems],
            }
        )
    elif is_dry:
        screen.line(f"{counted(tally.matched, 'task')} would be {done}")
    else:
        screen.line(f"{done} {tally.done:,} of {counted(tally.matched, 'task')}")
        for problem in problems:
            screen.say(f"{problem.task_id}: {problem.error.message} ({problem.error.reason})", style="yellow")
        if tally.problem_count > len(problems):
            screen.say(f"and {tally.problem_count - len(problems):,} more", style="dim")
    return ExitCode.REFUSED if tally.problem_count and not is_dry else ExitCode.OK
