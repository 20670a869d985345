"""``upbeat types``: the types of tasks that there are agents for, and holding one back."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from upbeat.cli.agents import listed
from upbeat.cli.completion import task_types
from upbeat.cli.failure import ExitCode
from upbeat.cli.formats import count
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions, grouped
from upbeat.cli.screen import Cell, stated
from upbeat.v1.agent_pb2 import Agent
from upbeat.v1.agent_service_pb2 import ListAgentsRequest, PauseTypeRequest, ResumeTypeRequest
from upbeat.v1.stats_service_pb2 import GetStatsRequest

TypesArgument = Annotated[
    list[str], typer.Argument(metavar="TYPE...", help="Types of tasks.", autocompletion=task_types)
]

app = typer.Typer(
    help="See who offers what; hold back a type of tasks.", no_args_is_help=True, rich_markup_mode="rich"
)


@app.command("list")
@grouped
def list_types(context: typer.Context, common: CommonOptions) -> None:
    """List what agents offer that can take work, capabilities that are no types included; what is paused."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    request = ListAgentsRequest(namespace=invocation.namespace, states=[Agent.STATE_CONNECTED])
    agents, _ = listed(invocation, request, 0)
    offers, slots, free = Counter[str](), Counter[str](), Counter[str]()
    for agent in agents:
        for name in agent.capabilities:
            offers[name] += 1
            slots[name] += agent.slots
            free[name] += max(0, agent.slots - agent.in_use)
    stats = connection.call(connection.stats.GetStats, GetStatsRequest(namespace=invocation.namespace)).stats
    paused = set(stats.paused_types)
    names = sorted(paused.union(offers))
    if screen.as_json:
        types = [
            {
                "type": name,
                "paused": name in paused,
                "agents": offers[name],
                "slots": slots[name],
                "free": free[name],
            }
            for name in names
        ]
        screen.document({"types": types})
    elif names:
        rows: list[tuple[Cell, ...]] = [
            (
                name,
                stated("PAUSED" if name in paused else "-"),
                *(count(of[name]) for of in (offers, slots, free)),
            )
            for name in names
        ]
        screen.table(("TYPE", "STATE!", "AGENTS#", "SLOTS#", "FREE#"), rows)
    else:
        screen.say("no agent is there to offer anything", style="dim")


@app.command("pause")
@grouped
def pause_types(context: typer.Context, types: TypesArgument, common: CommonOptions) -> Any:
    """Hand out no more tasks of these types; what runs goes on, what comes waits."""
    return _ruled(Invocation.of(context, common), types, is_paused=True)


@app.command("resume")
@grouped
def resume_types(context: typer.Context, types: TypesArgument, common: CommonOptions) -> Any:
    """Hand out tasks of these types again."""
    return _ruled(Invocation.of(context, common), types, is_paused=False)


def _ruled(invocation: Invocation, types: list[str], *, is_paused: bool) -> ExitCode:
    connection, screen, namespace = invocation.connection, invocation.screen, invocation.namespace
    word = "paused" if is_paused else "resumed"
    for name in types:
        if is_paused:
            pause = PauseTypeRequest(namespace=namespace, type=name)
            connection.call_again(connection.agents.PauseType, pause)
        else:
            resume = ResumeTypeRequest(namespace=namespace, type=name)
            connection.call_again(connection.agents.ResumeType, resume)
        if not screen.as_json:
            screen.line(name, word)
    if screen.as_json:
        screen.document({word: types})
    return ExitCode.OK
