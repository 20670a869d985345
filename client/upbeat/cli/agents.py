"""``upbeat agents``: who works here, what each can do, and how to send one home."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from upbeat.cli.completion import agent_ids
from upbeat.cli.documents import document
from upbeat.cli.failure import ExitCode
from upbeat.cli.formats import (
    NOTHING,
    between,
    clock,
    count,
    elapsed,
    local_time,
    seconds_of,
    short_name,
    shortened,
)
from upbeat.cli.inputs import enum_number
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions, grouped
from upbeat.cli.resuming import resumed
from upbeat.cli.screen import Cell, Screen, stated
from upbeat.v1.agent_pb2 import Agent
from upbeat.v1.agent_service_pb2 import (
    DrainAgentRequest,
    GetAgentRequest,
    ListAgentsRequest,
    WatchAgentsRequest,
)

HEADS = ("AGENT", "NAME", "STATE!", "SLOTS#", "DONE#", "FAILED#", "SEEN#", "CAPABILITIES", "LABELS")
_LEAST = ("LABELS", "NAME", "FAILED", "SEEN", "CAPABILITIES", "DONE", "SLOTS")
_PAGE_SIZE = 1000

AgentIdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The agent's id.", autocompletion=agent_ids)
]

app = typer.Typer(help="See and drain agents.", no_args_is_help=True, rich_markup_mode="rich")


def state_name(state: Agent.State.ValueType) -> str:
    """``CONNECTED``; a state of a newer server by its number."""
    return short_name(Agent.State.Name(state), "STATE_") if state in Agent.State.values() else str(state)


def agent_row(agent: Agent) -> tuple[Cell, ...]:
    """A row under ``HEADS``."""
    return (
        shortened(agent.agent_id, 48),
        shortened(agent.name, 32),
        stated(state_name(agent.state)),
        f"{agent.in_use}/{agent.slots}",
        count(agent.completed_count),
        count(agent.failed_count),
        between(agent.last_seen_time, type(agent.last_seen_time)()),
        shortened(", ".join(agent.capabilities), 60),
        shortened(" ".join(f"{key}={value}" for key, value in sorted(agent.labels.items())), 60),
    )


def listed(invocation: Invocation, request: ListAgentsRequest, limit: int) -> tuple[list[Agent], bool]:
    """The first ``limit`` agents (0: all), and whether there are more."""
    connection = invocation.connection
    agents: list[Agent] = []
    while True:
        request.page_size = min(_PAGE_SIZE, limit - len(agents)) if limit else _PAGE_SIZE
        answer = connection.call(connection.agents.ListAgents, request)
        agents.extend(answer.agents)
        if not answer.next_page_token or (limit and len(agents) >= limit):
            return agents, bool(answer.next_page_token)
        request.page_token = answer.next_page_token


@app.command("list")
@grouped
def list_agents(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="connected, suspect, draining or disconnected; may repeat."),
    ] = None,
    capability: Annotated[
        str, typer.Option("--capability", metavar="NAME", help="Only those that offer this.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most this many; 0 means all.")] = 100,
    *,
    common: CommonOptions,
) -> None:
    """List agents, ordered by id."""
    invocation = Invocation.of(context, common)
    screen = invocation.screen
    states = [
        Agent.State.ValueType(enum_number(Agent.State, "STATE_", text, "--state")) for text in state or ()
    ]
    request = ListAgentsRequest(namespace=invocation.namespace, states=states, capability=capability)
    agents, is_more = listed(invocation, request, limit)
    if screen.as_json:
        screen.document({"agents": [document(agent) for agent in agents]})
    elif agents:
        screen.table(HEADS, (agent_row(agent) for agent in agents), least=_LEAST)
    else:
        screen.say("no agents match" if states or capability else "no agents yet", style="dim")
    if is_more:
        screen.say(f"the first {limit:,} of more; --limit 0 lists all", style="dim")


@app.command("get")
@grouped
def get_agent(context: typer.Context, agent_id: AgentIdArgument, common: CommonOptions) -> None:
    """Show all about one agent, and what was learned of it."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    request = GetAgentRequest(namespace=invocation.namespace, agent_id=agent_id)
    agent = connection.call(connection.agents.GetAgent, request).agent
    if screen.as_json:
        screen.document(agent)
    else:
        _show_agent(screen, agent)


def _show_agent(screen: Screen, agent: Agent) -> None:
    screen.facts(
        (
            ("agent", agent.agent_id),
            ("name", agent.name),
            ("state", stated(state_name(agent.state))),
            ("slots", f"{agent.in_use} of {agent.slots} in use"),
            ("capabilities", ", ".join(sorted(agent.capabilities))),
            ("labels", "  ".join(f"{key}={value}" for key, value in sorted(agent.labels.items())) or NOTHING),
            ("attempts", f"{count(agent.completed_count)} completed, {count(agent.failed_count)} failed"),
            ("connected", local_time(agent.connect_time)),
            ("last seen", local_time(agent.last_seen_time)),
            ("sdk", agent.sdk_version or NOTHING),
        )
    )
    if agent.performance:
        rows = [
            (
                shortened(item.type, 60),
                count(item.count),
                f"{item.success_rate:.1%}",
                elapsed(seconds_of(item.duration_estimate)),
            )
            for item in sorted(agent.performance, key=lambda item: -item.count)
        ]
        screen.line("")
        screen.table(("TYPE", "ATTEMPTS#", "SUCCESS#", "EXPECTED#"), rows)


@app.command("drain")
@grouped
def drain_agents(
    context: typer.Context,
    agent_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="The agents to drain.", autocompletion=agent_ids)
    ],
    *,
    common: CommonOptions,
) -> Any:
    """Give agents nothing new; what they have they finish."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    drained: list[Agent] = []
    for agent_id in agent_ids:
        request = DrainAgentRequest(namespace=invocation.namespace, agent_id=agent_id)
        agent = connection.call(connection.agents.DrainAgent, request).agent
        drained.append(agent)
        if not screen.as_json:
            screen.line(agent.agent_id, stated(state_name(agent.state)), f"{agent.in_use} in use")
    if screen.as_json:
        screen.document({"agents": [document(agent) for agent in drained]})
    return ExitCode.OK


@app.command("watch")
@grouped
def watch_agents(context: typer.Context, common: CommonOptions) -> None:
    """Show agents as they come, change and go, one line each."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    request = WatchAgentsRequest(namespace=invocation.namespace)
    for frame in resumed(screen, lambda: connection.stream(connection.agents.WatchAgents, request)):
        for agent in frame.agents:
            if screen.as_json:
                screen.event({"agent": document(agent)})
            else:
                use = f"{agent.in_use}/{agent.slots} slots"
                done = f"{count(agent.completed_count)} done, {count(agent.failed_count)} failed"
                screen.line(clock(), agent.agent_id, stated(state_name(agent.state)), use, done)
        if frame.snapshot_done:
            if screen.as_json:
                screen.event({"snapshot_done": True})
            elif screen.is_interactive:
                screen.say("changes follow, Ctrl-C ends", style="dim")
