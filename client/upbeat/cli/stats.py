"""``upbeat stats`` and ``upbeat health``: how a server is doing."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from rich.live import Live

from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.inputs import duration
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions
from upbeat.cli.resuming import resumed
from upbeat.cli.screen import Cell, stated
from upbeat.cli.stats_tables import stats_line, stats_page, stats_screen
from upbeat.v1.stats_service_pb2 import GetStatsRequest, WatchStatsRequest

_SERVICES = ("upbeat.v1.TaskService", "upbeat.v1.AgentService", "upbeat.v1.StatsService")
_SERVING = "SERVING"


def stats(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show them again and again until Ctrl-C.")
    ] = False,
    interval: Annotated[
        str,
        typer.Option("--interval", metavar="DURATION", help="Between two looks of --watch, 100ms to 60s."),
    ] = "1s",
    *,
    common: CommonOptions,
) -> None:
    """Show queues, rates, times, agents and slots."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    if watch:
        _watch(invocation, duration(interval, "--interval"))
        return
    request = GetStatsRequest(namespace=invocation.namespace)
    answer = connection.call(connection.stats.GetStats, request).stats
    if screen.as_json:
        screen.document(answer)
    elif screen.out.is_terminal:
        screen.show(stats_screen(answer, screen.out.width))
    else:
        screen.show(stats_page(answer))


def _watch(invocation: Invocation, interval: Duration) -> None:
    connection, screen = invocation.connection, invocation.screen
    request = WatchStatsRequest(namespace=invocation.namespace, interval=interval)
    frames = resumed(screen, lambda: connection.stream(connection.stats.WatchStats, request))
    if screen.as_json:
        for frame in frames:
            screen.event(frame.stats)
    elif not screen.out.is_terminal:
        for frame in frames:
            screen.show(stats_line(frame.stats))
    else:
        with Live(console=screen.out, auto_refresh=False, vertical_overflow="crop") as live:
            for frame in frames:
                live.update(stats_screen(frame.stats, screen.out.width), refresh=True)


def health(context: typer.Context, common: CommonOptions) -> Any:
    """Ask whether the server serves; exit 0 if it does, 1 if it says no, 5 if it cannot be reached."""
    invocation = Invocation.of(context, common)
    screen = invocation.screen
    states = {service: _health_of(invocation, service) for service in ("", *_SERVICES)}
    is_serving = states[""] == _SERVING
    if screen.as_json:
        services = {service: state for service, state in states.items() if service}
        screen.document(
            {"server": invocation.connection.target.address, "state": states[""], "services": services}
        )
    else:
        rows: list[tuple[Cell, ...]] = [
            (service or "server", stated(state)) for service, state in states.items()
        ]
        screen.table(("SERVICE", "STATE"), rows)
    return ExitCode.OK if is_serving else ExitCode.TASK_FAILED


def _health_of(invocation: Invocation, service: str) -> str:
    connection = invocation.connection
    try:
        answer: HealthCheckResponse = connection.call(
            connection.health.Check, HealthCheckRequest(service=service)
        )
    except Failure as failure:
        if failure.code is ExitCode.NOT_FOUND:
            return "SERVICE_UNKNOWN"
        raise
    state: str = HealthCheckResponse.ServingStatus.Name(answer.status)
    return state
