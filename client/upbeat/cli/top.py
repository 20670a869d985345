"""``upbeat top``: a live view of queue, rates, agents and tasks, until q or Ctrl-C."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.live import Live

from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import visible
from upbeat.cli.inputs import seconds, usage
from upbeat.cli.invocation import Invocation
from upbeat.cli.keyboard import ReadKeys, keys
from upbeat.cli.options import CommonOptions
from upbeat.cli.top_choices import INTERVALS_S, Choices
from upbeat.cli.top_page import View, page
from upbeat.v1.agent_pb2 import Agent
from upbeat.v1.agent_service_pb2 import ListAgentsRequest
from upbeat.v1.stats_service_pb2 import GetStatsRequest
from upbeat.v1.task_service_pb2 import ListTasksRequest

_ROWS_MAX = 1_000
_AGENT_PAGES_MAX = 5
_NEWEST_MAX = 100
_LOOK_S = 0.1
"""Between two looks at the size of the window."""


def top(
    context: typer.Context,
    interval: Annotated[
        str, typer.Option("--interval", metavar="DURATION", help="Between two looks.")
    ] = "1s",
    *,
    common: CommonOptions,
) -> None:
    """Watch the whole server live: h shows the keys, q or Ctrl-C ends it."""
    invocation = Invocation.of(context, common)
    screen = invocation.screen
    if screen.as_json or not screen.out.is_terminal:
        raise usage("top draws on a terminal", "for a program or a pipe: upbeat stats --watch [-o json]")
    choices = Choices(interval_s=max(INTERVALS_S[0], seconds(interval, "--interval")))
    view = View()
    target = invocation.connection.target
    where = f"{visible(target.address)}  {visible(target.namespace) or 'default'}"
    _ask(invocation, view)  # Nobody there from the start: an error is better than an empty screen.
    with keys() as read_keys, Live(console=screen.out, screen=True, auto_refresh=False) as live:
        while True:
            size = screen.out.size
            live.update(page(view, choices, where, size), refresh=True)
            if _is_due(invocation, choices, read_keys, size) and not choices.is_held:
                _refresh(invocation, view)
            if choices.is_over:
                return


def _is_due(invocation: Invocation, choices: Choices, read_keys: ReadKeys, size: tuple[int, int]) -> bool:
    """Wait for the next look, True, or for something to draw at once."""
    until = time.monotonic() + choices.interval_s
    while (left_s := until - time.monotonic()) > 0:
        pressed = read_keys(min(left_s, _LOOK_S))
        for key in pressed:
            choices.press(key)
        if pressed or invocation.screen.out.size != size:
            return False
    return True


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
    view.rates.append(view.stats.completed.per_second_1s)
    agents = ListAgentsRequest(namespace=namespace, page_size=_ROWS_MAX)
    found: list[Agent] = []
    for _ in range(_AGENT_PAGES_MAX):
        answer = connection.call(connection.agents.ListAgents, agents)
        found += answer.agents
        agents.page_token = answer.next_page_token
        if not answer.next_page_token:
            break
    view.agents, view.are_all_agents = found, not agents.page_token
    running = ListTasksRequest(namespace=namespace, page_size=_ROWS_MAX, filter="state = RUNNING")
    view.running = list(connection.call(connection.tasks.ListTasks, running).tasks)
    newest = ListTasksRequest(namespace=namespace, page_size=_NEWEST_MAX, order_by="create_time desc")
    view.newest = list(connection.call(connection.tasks.ListTasks, newest).tasks)
