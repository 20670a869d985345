"""Waiting for a task to end, with its progress on standard error where somebody watches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import elapsed, shortened, visible
from upbeat.cli.invocation import Invocation
from upbeat.cli.screen import Screen
from upbeat.cli.task_tables import FINISHED, error_line, payload_text, state_name
from upbeat.v1.task_pb2 import Task
from upbeat.v1.task_service_pb2 import ExplainTaskRequest, GetTaskRequest

_POLL_S = 0.5
_LONG_POLL_S = 60.0
_CALL_MARGIN_S = 10.0
_RECONNECT_S = 1.0
_EXPLAIN_AFTER_S = 2.0


class _Report(Protocol):
    def __call__(self, task: Task) -> None: ...


def wait_for_end(invocation: Invocation, task_id: str, timeout_s: float | None) -> Task:
    """The task once it has ended; survives a restart of the server. Raises Failure (TIMEOUT)."""
    try:
        return _polled(invocation, task_id, timeout_s)
    except KeyboardInterrupt:
        invocation.screen.say(f"{task_id} goes on; end it with: upbeat tasks cancel {task_id}", style="dim")
        raise


def _polled(invocation: Invocation, task_id: str, timeout_s: float | None) -> Task:
    begin = time.monotonic()
    poll_s = _POLL_S if invocation.screen.is_interactive else _LONG_POLL_S
    is_explained = False
    with _progress(invocation.screen, task_id) as report:
        while True:
            waited_s = time.monotonic() - begin
            left_s = _LONG_POLL_S if timeout_s is None else max(0.0, timeout_s - waited_s)
            task = _ask(
                invocation, task_id, min(left_s, poll_s if is_explained else _EXPLAIN_AFTER_S, poll_s)
            )
            if task is not None:
                report(task)
                if task.state in FINISHED:
                    return task
                if task.state == Task.STATE_QUEUED and not is_explained and waited_s >= _EXPLAIN_AFTER_S:
                    is_explained = True
                    _explain(invocation, task_id)
            if timeout_s is not None and time.monotonic() - begin >= timeout_s:
                raise _timed_out(task_id, task, timeout_s)


def _explain(invocation: Invocation, task_id: str) -> None:
    """Tell once why a task still waits: most often nobody offers what it needs."""
    connection = invocation.connection
    request = ExplainTaskRequest(namespace=invocation.namespace, task_id=task_id)
    with suppress(Failure):
        reasons = connection.call(connection.tasks.ExplainTask, request).reasons
        if reasons:
            invocation.screen.say(f"{task_id} still waits: {reasons[0].message}", style="dim")


def _timed_out(task_id: str, task: Task | None, timeout_s: float) -> Failure:
    state = state_name(task.state) if task is not None else "not known: the server cannot be reached"
    return Failure(
        ExitCode.TIMEOUT,
        f"task {task_id} has not ended in {elapsed(timeout_s)}; its state is {state}",
        remedy=f"see why with: upbeat tasks explain {task_id}",
    )


def _ask(invocation: Invocation, task_id: str, wait_s: float) -> Task | None:
    """The task after at most ``wait_s``; None while the server cannot be reached."""
    connection = invocation.connection
    wait = Duration(seconds=int(wait_s), nanos=int(wait_s % 1 * 1e9))
    request = GetTaskRequest(namespace=invocation.namespace, task_id=task_id, wait=wait)
    try:
        return connection.call(connection.tasks.GetTask, request, timeout_s=wait_s + _CALL_MARGIN_S).task
    except Failure as failure:
        if failure.code is not ExitCode.UNAVAILABLE:
            raise
        time.sleep(min(_RECONNECT_S, wait_s) if wait_s else 0)
        return None


@contextmanager
def _progress(screen: Screen, task_id: str) -> Iterator[_Report]:
    if not screen.is_interactive:
        yield lambda task: None  # noqa: ARG005 - the shape of a report
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[message]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen.err, transient=True) as bar:
        row = bar.add_task(task_id, total=None, message="")

        def report(task: Task) -> None:
            bar.update(
                row,
                description=f"{task_id} {state_name(task.state)}",
                total=1.0 if task.progress else None,
                completed=task.progress,
                message=shortened(task.progress_message, 60),
            )

        yield report


def conclude(screen: Screen, task: Task) -> ExitCode:
    """Show how a task that was waited for ended: its output, or why there is none; the exit code."""
    if screen.as_json:
        screen.document(task)
    elif task.state == Task.STATE_COMPLETED:
        if task.output.data:
            screen.show(Text(visible(payload_text(task.output), lines=True)))
    else:
        screen.say(f"{task.task_id} {state_name(task.state)}: {error_line(task.error)}", style="red")
    return ExitCode.OK if task.state == Task.STATE_COMPLETED else ExitCode.TASK_FAILED
