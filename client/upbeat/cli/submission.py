"""``upbeat tasks submit``: one task from the options of a command, or whole ones from a file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any

import typer

from upbeat.cli.completion import task_types
from upbeat.cli.documents import document
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.inputs import seconds, slip_in_json, usage
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions
from upbeat.cli.spec_file import documents
from upbeat.cli.spec_options import SpecOptions
from upbeat.cli.spec_reader import spec_of
from upbeat.cli.task_tables import state_name
from upbeat.cli.waiting import conclude, wait_for_end
from upbeat.v1.task_pb2 import Task
from upbeat.v1.task_service_pb2 import SubmitTaskRequest
from upbeat.v1.task_spec_pb2 import TaskSpec


def submit(
    context: typer.Context,
    task_type: Annotated[
        str | None,
        typer.Argument(
            metavar="[TYPE]",
            help="What is to be done; an agent must offer it.",
            autocompletion=task_types,
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT|@FILE|-]",
            help="The input: JSON or text, @FILE, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Whole tasks instead, as YAML or JSON; a list or several documents are several tasks; "
            "- for standard input.",
        ),
    ] = None,
    *,
    options: SpecOptions,
    request_id: Annotated[
        str | None,
        typer.Option(
            "--request-id",
            metavar="ID",
            help="Makes it safe to repeat; made up by default. Of several tasks ID-1, ID-2, ...",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for the end and print the output.")
    ] = False,
    wait_timeout: Annotated[
        str | None,
        typer.Option(
            "--wait-timeout", metavar="DURATION", help="As --wait, but give up after this long (exit 8)."
        ),
    ] = None,
    common: CommonOptions,
) -> Any:
    """Submit a task; prints its id, or with --wait its output.

    Examples: upbeat tasks submit summarize '{"text": "..."}' --wait
    and: upbeat tasks submit review @main.py --priority high --label team=core
    and: upbeat tasks submit --file collaboration.yaml --wait
    """
    invocation = Invocation.of(context, common)
    timeout_s = None if wait_timeout is None else seconds(wait_timeout, "--wait-timeout")
    specs = [options.spec(task_type, text)] if task_type is not None else _specs_of(file, options)
    if task_type is not None and file is not None:
        raise usage(
            "choose one of TYPE and --file", "a file holds the whole task, its type and input included"
        )
    _warn_of_slip(invocation, specs[0], is_typed=task_type is not None and not options.content_type)
    is_waited = wait or timeout_s is not None
    tasks = _all_submitted(invocation, specs, request_id, is_waited=is_waited)
    if is_waited:
        return _waited(invocation, tasks, timeout_s)
    if invocation.as_json:
        _tell(invocation, tasks)
    return ExitCode.OK


def _warn_of_slip(invocation: Invocation, spec: TaskSpec, *, is_typed: bool) -> None:
    """Whoever typed an input, and not what it is, is told where it looks like JSON and is none."""
    slip = slip_in_json(spec.input) if is_typed else ""
    if slip:
        invocation.screen.say(f"the input begins like JSON and is none ({slip}): it is sent as text")


def _all_submitted(
    invocation: Invocation, specs: list[TaskSpec], request_id: str | None, *, is_waited: bool
) -> list[Task]:
    """Submit them one after the other, saying so at each; raises Failure at the first that is refused."""
    screen = invocation.screen
    tasks: list[Task] = []
    for task in _submitted(invocation, specs, request_id or f"cli-{uuid.uuid4().hex}"):
        tasks.append(task)
        if is_waited and screen.is_interactive:
            screen.say(f"{task.task_id} accepted", style="dim")
        elif not is_waited and not screen.as_json:
            screen.line(task.task_id)
    if not is_waited and not screen.as_json and len(tasks) == 1 and screen.is_interactive:
        (task,) = tasks
        screen.say(
            f"accepted, {state_name(task.state)}; follow it with: upbeat tasks watch {task.task_id}",
            style="dim",
        )
    return tasks


def _tell(invocation: Invocation, tasks: list[Task]) -> None:
    """As JSON: the one task, or a list of several."""
    several = {"tasks": [document(task) for task in tasks]}
    invocation.screen.document(tasks[0] if len(tasks) == 1 else several)


def _specs_of(file: str | None, options: SpecOptions) -> list[TaskSpec]:
    """The tasks in a file; raises Failure (USAGE) before anything is submitted."""
    if file is None:
        raise usage("what is to be done?", "give a TYPE, or --file with whole tasks")
    given = [field.name for field in fields(options) if getattr(options, field.name) != field.default]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise usage(f"{option} does not go with --file", "a file holds the whole task: set it there")
    found = documents(file)
    if not found:
        raise usage(f"{file} holds no task")
    is_one = len(found) == 1
    return [
        spec_of(each, file if is_one else f"{file}: task {number}")
        for number, each in enumerate(found, start=1)
    ]


def _submitted(invocation: Invocation, specs: list[TaskSpec], request_id: str) -> Iterator[Task]:
    """The tasks as the server accepts them; of several each has a request id of its own."""
    connection = invocation.connection
    for number, spec in enumerate(specs, start=1):
        own_id = request_id if len(specs) == 1 else f"{request_id}-{number}"
        request = SubmitTaskRequest(namespace=invocation.namespace, spec=spec, request_id=own_id)
        try:
            yield connection.call_again(connection.tasks.SubmitTask, request).task
        except Failure as failure:
            if len(specs) > 1:
                failure.message = f"task {number} of {len(specs)}: {failure.message}"
            if failure.code in (ExitCode.UNAVAILABLE, ExitCode.TIMEOUT) and failure.reason != "DRAINING":
                failure.remedy += (
                    f"\nif it may have been accepted, repeat it safely with --request-id {request_id}"
                )
            raise


def _waited(invocation: Invocation, tasks: list[Task], timeout_s: float | None) -> ExitCode:
    """Wait for all of them and show their outputs, in order; OK if all have completed."""
    screen = invocation.screen
    code = ExitCode.OK
    ended: list[Task] = []
    for task in tasks:
        ended.append(wait_for_end(invocation, task.task_id, timeout_s))
        if len(tasks) == 1 or not screen.as_json:
            conclude(screen, ended[-1])
        if ended[-1].state != Task.STATE_COMPLETED:
            code = ExitCode.TASK_FAILED
    if len(tasks) > 1 and screen.as_json:
        _tell(invocation, ended)
    return code
