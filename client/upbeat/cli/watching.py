"""``upbeat tasks watch``: changes as they are committed, resumed where a stream broke."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from upbeat.cli.completion import task_ids
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.inputs import usage
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions
from upbeat.cli.resuming import Outage
from upbeat.cli.task_tables import FINISHED, left_line, progress_line, watch_line
from upbeat.v1.task_pb2 import Task
from upbeat.v1.task_service_pb2 import TaskEvent, WatchTasksRequest, WatchTasksResponse


class TaskWatch:
    """One watch over several streams: each resumes after the last whole revision that was shown."""

    def __init__(self, invocation: Invocation, request: WatchTasksRequest) -> None:
        self._invocation = invocation
        self._screen = invocation.screen
        self._request = request
        self._is_snapshot = request.revision == 0
        self._snapshot_count = 0
        self._outage = Outage(invocation.screen)
        self.last: Task | None = None

    def run(self) -> None:
        """Show events until the server ends the watch (a single task ended) or a failure that lasts."""
        connection = self._invocation.connection
        is_connected = False
        while True:
            try:
                for frame in connection.stream(connection.tasks.WatchTasks, self._request):
                    is_connected = True
                    self._outage.over()
                    self._show(frame)
                return
            except Failure as failure:
                if not is_connected:
                    raise
                self._prepare_again(failure)

    def _prepare_again(self, failure: Failure) -> None:
        """Make the request resume, or raise ``failure`` where that cannot help."""
        if failure.reason == "REVISION_OUT_OF_RANGE":
            self._screen.say("changes were missed; showing everything anew", style="yellow")
            self._request.revision = 0
            self._is_snapshot, self._snapshot_count = True, 0
        else:
            self._outage.wait(failure)

    def _show(self, frame: WatchTasksResponse) -> None:
        for event in frame.events:
            self._show_event(event)
        if frame.revision:
            self._request.revision = frame.revision
        if frame.snapshot_done:
            self._is_snapshot = False
            self._end_snapshot(frame)

    def _show_event(self, event: TaskEvent) -> None:
        if event.HasField("task"):
            self.last = event.task
        if self._screen.as_json:
            self._screen.event(event)
        elif event.HasField("progress"):
            progress_line(self._screen, event.progress)
        elif event.HasField("left"):
            left_line(self._screen, event.left)
        elif not self._is_snapshot or event.task.state not in FINISHED or self._request.task_id:
            watch_line(self._screen, event.task)
        if self._is_snapshot:
            self._snapshot_count += 1

    def _end_snapshot(self, frame: WatchTasksResponse) -> None:
        if self._screen.as_json:
            self._screen.event({"snapshot_done": True, "revision": str(frame.revision)})
        elif not self._request.task_id and self._screen.is_interactive:
            self._screen.say(
                f"{self._snapshot_count:,} tasks match (finished ones not shown); changes follow",
                style="dim",
            )


def watch(
    context: typer.Context,
    task_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="One task: the watch ends with it.",
            autocompletion=task_ids,
            show_default=False,
        ),
    ] = None,
    query: Annotated[
        str,
        typer.Option(
            "--filter", "-f", metavar="FILTER", help="Which tasks, as in `tasks list`; default all."
        ),
    ] = "",
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="ID", help="The children of a task.")
    ] = None,
    revision: Annotated[
        int, typer.Option("--revision", min=0, help="Resume after this revision, without a snapshot.")
    ] = 0,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Show progress and output of running attempts.")
    ] = True,
    *,
    common: CommonOptions,
) -> Any:
    """Show tasks as they change, one line each; of one task until it has ended (exit 1 unless COMPLETED)."""
    invocation = Invocation.of(context, common)
    if sum((bool(task_id), bool(query), bool(parent))) > 1:
        raise usage("choose one of ID, --filter and --parent")
    request = WatchTasksRequest(namespace=invocation.namespace, revision=revision, progress=progress)
    if task_id:
        request.task_id = task_id
    elif parent:
        request.parent_task_id = parent
    elif query:
        request.filter = query
    tasks = TaskWatch(invocation, request)
    tasks.run()
    if task_id and (tasks.last is None or tasks.last.state != Task.STATE_COMPLETED):
        return ExitCode.TASK_FAILED
    return ExitCode.OK
