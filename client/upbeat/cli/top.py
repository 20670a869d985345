"""``upbeat top``: a live view of queue, rates, agents and tasks, until q or Ctrl-C."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from upbeat.cli.agents import state_name as agent_state_name
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import count, elapsed, rate, seconds_of, shortened, visible
from upbeat.cli.inputs import seconds, usage
from upbeat.cli.invocation import Invocation
from upbeat.cli.keyboard import ReadKey, keys
from upbeat.cli.options import CommonOptions
from upbeat.cli.screen import Cell, columns, stated
from upbeat.cli.stats_tables import headline, queue_table, slots_line
from upbeat.cli.task_tables import LIST_HEADS, task_row
from upbeat.v1.agent_pb2 import Agent
from upbeat.v1.agent_service_pb2 import ListAgentsRequest
from upbeat.v1.stats_pb2 import Percentiles, Stats
from upbeat.v1.stats_service_pb2 import GetStatsRequest
from upbeat.v1.task_pb2 import Task
from upbeat.v1.task_service_pb2 import ListTasksRequest

_ROWS_MAX = 200
_AGENTS_SHARE = 0.5
_HEAD_ROWS = 10
_BAR_WIDTH = 12


@dataclass
class View:
    """What was last heard; ``problem`` is why nothing newer was."""

    stats: Stats = field(default_factory=Stats)
    agents: list[Agent] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    problem: str = ""


def top(
    context: typer.Context,
    interval: Annotated[
        str, typer.Option("--interval", metavar="DURATION", help="Between two looks.")
    ] = "1s",
    *,
    common: CommonOptions,
) -> None:
    """Watch the whole server live; q or Ctrl-C ends it."""
    invocation = Invocation.of(context, common)
    screen = invocation.screen
    if screen.as_json or not screen.out.is_terminal:
        raise usage("top draws on a terminal", "for a program or a pipe: upbeat stats --watch [-o json]")
    interval_s = max(0.1, seconds(interval, "--interval"))
    view = View()
    _refresh(invocation, view)
    if view.problem:  # Nobody there from the start: an error is better than an empty screen.
        _ask(invocation, view)
    with keys() as read_key, Live(console=screen.out, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_page(invocation, view), refresh=True)
            if _is_left(read_key, interval_s):
                return
            _refresh(invocation, view)


def _is_left(read_key: ReadKey, interval_s: float) -> bool:
    """Wait for the next look; True if whoever watches has had enough."""
    until = time.monotonic() + interval_s
    while (left_s := until - time.monotonic()) > 0:
        pressed = read_key(left_s)
        if "q" in pressed.lower() or pressed == "\x1b" or "\x04" in pressed:
            return True
        if pressed:
            return False  # Any other key: look at once.
    return False


def _refresh(invocation: Invocation, view: View) -> None:
    try:
        _ask(invocation, view)
        view.problem = ""
    except Failure as failure:
        if failure.code not in (ExitCode.UNAVAILABLE, ExitCode.TIMEOUT, ExitCode.EXHAUSTED):
            raise
        view.problem = failure.message


def _ask(invocation: Invocation, view: View) -> None:
    connection, namespace = invocation.connection, invocation.namespace
    view.stats = connection.call(connection.stats.GetStats, GetStatsRequest(namespace=namespace)).stats
    agents = ListAgentsRequest(namespace=namespace, page_size=_ROWS_MAX)
    view.agents = list(connection.call(connection.agents.ListAgents, agents).agents)
    tasks = ListTasksRequest(namespace=namespace, page_size=_ROWS_MAX, order_by="create_time desc")
    view.tasks = list(connection.call(connection.tasks.ListTasks, tasks).tasks)


def _page(invocation: Invocation, view: View) -> RenderableType:
    console = invocation.screen.out
    stats = view.stats
    head = Table.grid(padding=(0, 4))
    head.add_row(queue_table(stats), _rates(stats))
    free_rows = max(6, console.size.height - _HEAD_ROWS)
    agent_rows = min(len(view.agents), max(3, int(free_rows * _AGENTS_SHARE) - 2))
    task_rows = max(2, free_rows - agent_rows - 4)
    return Group(
        _title(invocation, view, console),
        head,
        slots_line(stats),
        Text(""),
        _agent_table(view.agents, agent_rows),
        Text(""),
        columns(LIST_HEADS, (task_row(task) for task in _most_telling(view.tasks)[:task_rows])),
    )


def _title(invocation: Invocation, view: View, console: Console) -> Text:
    target = invocation.connection.target
    where = f"  {visible(target.address)}  {visible(target.namespace) or 'default'}"
    title = Text.assemble(headline(view.stats), (where, "dim"), ("   q quits", "dim"))
    if view.problem:
        title = Text.assemble((f"{visible(view.problem)}; trying again", "bold red"), ("   q quits", "dim"))
    title.truncate(console.size.width, overflow="ellipsis")
    return title


def _rates(stats: Stats) -> RenderableType:
    def times(percentiles: Percentiles) -> str:
        if not percentiles.count:
            return "-"
        return f"{elapsed(seconds_of(percentiles.p50))} / {elapsed(seconds_of(percentiles.p99))}"

    states = stats.tasks_by_state
    rows: list[tuple[Cell, ...]] = [
        (
            "submitted",
            rate(stats.submitted.per_second_1s),
            rate(stats.submitted.per_second_1m),
            "wait",
            times(stats.wait),
        ),
        (
            "completed",
            rate(stats.completed.per_second_1s),
            rate(stats.completed.per_second_1m),
            "run",
            times(stats.run),
        ),
        (
            "failed",
            rate(stats.failed.per_second_1s),
            rate(stats.failed.per_second_1m),
            "dispatch",
            times(stats.dispatch),
        ),
        ("running", count(states.get("RUNNING", 0)), "", "commit", times(stats.commit)),
    ]
    return columns(("RATE", "1s#", "1m#", "TIME", "p50 / p99#"), rows)


def _agent_table(agents: list[Agent], rows_max: int) -> RenderableType:
    order = {Agent.STATE_CONNECTED: 0, Agent.STATE_SUSPECT: 1, Agent.STATE_DRAINING: 2}
    busiest = sorted(agents, key=lambda agent: (order.get(agent.state, 3), -agent.in_use, agent.agent_id))
    rows: list[tuple[Cell, ...]] = [
        (
            shortened(agent.agent_id, 40),
            stated(agent_state_name(agent.state)),
            _bar(agent),
            f"{agent.in_use}/{agent.slots}",
            count(agent.completed_count),
            count(agent.failed_count),
            shortened(", ".join(agent.capabilities), 60),
        )
        for agent in busiest[:rows_max]
    ]
    more = f" (+{len(agents) - rows_max} more)" if len(agents) > rows_max else ""
    return columns((f"AGENT{more}", "STATE!", "LOAD!", "SLOTS#", "DONE#", "FAILED#", "CAPABILITIES"), rows)


def _bar(agent: Agent) -> Text:
    full = round(_BAR_WIDTH * min(1.0, agent.in_use / agent.slots)) if agent.slots else 0
    return Text.assemble(("━" * full, "green"), ("━" * (_BAR_WIDTH - full), "dim"))


def _most_telling(tasks: list[Task]) -> list[Task]:
    """Running tasks first, then the newest of the others."""
    return sorted(tasks, key=lambda task: task.state != Task.STATE_RUNNING)
