"""``upbeat tasks tree``: a collaboration with its children, and theirs, as they stand."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from upbeat.cli.collaboration_tables import kind_name, tally_text
from upbeat.cli.documents import document
from upbeat.cli.formats import between, is_set, shortened, visible
from upbeat.cli.inputs import usage
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions
from upbeat.cli.screen import stated
from upbeat.cli.task_query import TaskIdArgument
from upbeat.cli.task_tables import FINISHED, note, state_name
from upbeat.v1.task_pb2 import TASK_VIEW_BASIC, Task
from upbeat.v1.task_service_pb2 import GetTaskRequest, ListTasksRequest

_PAGE_SIZE = 1000
_REFRESH_S = 1.0


@dataclass
class Branch:
    """A task with its children; ``is_cut`` where there are more than were asked for."""

    task: Task
    children: list[Branch] = field(default_factory=list)
    is_cut: bool = False

    def plain(self) -> dict[str, Any]:
        """As JSON: the task, and under ``child_tasks`` its children."""
        told = document(self.task)
        if self.children or is_collaboration(self.task):
            told["child_tasks"] = [child.plain() for child in self.children]
            told["child_tasks_cut"] = self.is_cut
        return told


def is_collaboration(task: Task) -> bool:
    """Whether it may have children."""
    return task.HasField("children") or task.spec.HasField("collaboration")


def grown(invocation: Invocation, task_id: str, limit: int) -> Branch:
    """The task and everything under it, at most ``limit`` children each (0: all)."""
    connection = invocation.connection
    request = GetTaskRequest(namespace=invocation.namespace, task_id=task_id, view=TASK_VIEW_BASIC)
    root = Branch(connection.call_again(connection.tasks.GetTask, request).task)
    waiting = [root]
    while waiting:
        branch = waiting.pop()
        if is_collaboration(branch.task):
            _grow(invocation, branch, limit)
            waiting.extend(branch.children)
    return root


def _grow(invocation: Invocation, branch: Branch, limit: int) -> None:
    connection = invocation.connection
    request = ListTasksRequest(
        namespace=invocation.namespace, filter=f'parent = "{branch.task.task_id}"', order_by="create_time"
    )
    while True:
        request.page_size = min(_PAGE_SIZE, limit - len(branch.children)) if limit else _PAGE_SIZE
        page = connection.call_again(connection.tasks.ListTasks, request)
        branch.children.extend(Branch(task) for task in page.tasks)
        branch.is_cut = bool(page.next_page_token)
        if not branch.is_cut or (limit and len(branch.children) >= limit):
            break
        request.page_token = page.next_page_token
    branch.children.sort(key=lambda child: child.task.ordinal)


def drawn(branch: Branch, onto: Tree | None = None) -> Tree:
    """The tree as rich draws it."""
    text = branch_line(branch.task)
    tree = Tree(text, guide_style="dim") if onto is None else onto.add(text)
    for child in branch.children:
        drawn(child, tree)
    if branch.is_cut:
        tree.add(Text("... and more: --limit 0 shows all", style="dim"))
    return tree


def branch_line(task: Task) -> Text:
    """One task: state, what it is, its place, who does it, how long, and what else is worth a glance."""
    parts = [stated(state_name(task.state)), Text(visible(shortened(kind_name(task.spec), 80)), style="bold")]
    if task.spec.name:
        parts.append(Text(visible(task.spec.name)))
    if task.member:
        parts.append(Text(visible(task.member), style="dim"))
    if task.attempts:
        parts.append(Text(shortened(task.attempts[-1].agent_id, 40), style="cyan"))
    if task.attempt_count > 1:
        parts.append(Text(f"attempt {task.attempt_count}"))
    if is_set(task.start_time):
        parts.append(Text(between(task.start_time, task.end_time)))
    if task.collaboration_result.tally:
        parts.append(Text(visible(tally_text(task.collaboration_result)), style="green"))
    if told := note(task):
        parts.append(Text(told, style="red" if task.state == Task.STATE_FAILED else ""))
    parts.append(Text(task.task_id, style="dim"))
    return Text("  ").join(parts)


def tree(
    context: typer.Context,
    task_id: TaskIdArgument,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="At most this many children of each; 0 means all.")
    ] = 100,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it anew every second until it has ended.")
    ] = False,
    *,
    common: CommonOptions,
) -> None:
    """Show a collaboration with its children, and theirs."""
    invocation = Invocation.of(context, common)
    screen = invocation.screen
    if watch and (screen.as_json or not screen.out.is_terminal):
        raise usage("--watch draws on a terminal", f"follow it with: upbeat tasks watch --parent {task_id}")
    branch = grown(invocation, task_id, limit)
    if screen.as_json:
        screen.document(branch.plain())
    elif not watch:
        screen.show(drawn(branch))
    else:
        with Live(drawn(branch), console=screen.out, auto_refresh=False) as live:
            while branch.task.state not in FINISHED:
                time.sleep(_REFRESH_S)
                branch = grown(invocation, task_id, limit)
                live.update(drawn(branch), refresh=True)
