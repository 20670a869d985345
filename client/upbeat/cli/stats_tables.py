"""The figures of a server as people see them: a page, and a line of a watch."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from upbeat.cli.formats import NOTHING, clock, count, elapsed, rate, seconds_of, visible
from upbeat.cli.screen import Cell, columns, stated
from upbeat.v1.stats_pb2 import Percentiles, Rates, Stats

_SIDE_BY_SIDE = 75
PRIORITIES = ("CRITICAL", "HIGH", "NORMAL", "LOW")
_STATES = ("PENDING", "QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
_AGENT_STATES = ("CONNECTED", "SUSPECT", "DRAINING", "DISCONNECTED")


def stats_screen(stats: Stats, width: int) -> RenderableType:
    """All figures so that an ordinary terminal holds them; below each other on a narrow one."""
    if width < _SIDE_BY_SIDE:
        return stats_page(stats)
    side = Table.grid(padding=(0, 5))
    side.add_row(
        columns(("TASKS", "COUNT#"), _counts(stats.tasks_by_state, _STATES)),
        queue_table(stats),
        columns(("AGENTS", "COUNT#"), _counts(stats.agents_by_state, _AGENT_STATES)),
    )
    return Group(
        headline(stats),
        slots_line(stats),
        Text(""),
        side,
        Text(""),
        columns(("RATE", "1s#", "1m#", "5m#", "SINCE START#"), _rate_rows(stats)),
        Text(""),
        columns(("TIME", "p50#", "p90#", "p99#", "MAX#", "SAMPLES#"), _time_rows(stats)),
        *_types(stats),
        *_limits(stats),
        *_collaborations(stats),
    )


def stats_page(stats: Stats) -> RenderableType:
    """All figures, in small tables below each other."""
    return Group(
        headline(stats),
        Text(""),
        columns(("TASKS", "COUNT#"), _counts(stats.tasks_by_state, _STATES)),
        Text(""),
        queue_table(stats),
        Text(""),
        columns(("RATE", "1s#", "1m#", "5m#", "SINCE START#"), _rate_rows(stats)),
        Text(""),
        columns(("TIME", "p50#", "p90#", "p99#", "MAX#", "SAMPLES#"), _time_rows(stats)),
        Text(""),
        columns(("AGENTS", "COUNT#"), _counts(stats.agents_by_state, _AGENT_STATES)),
        Text(""),
        slots_line(stats),
        *_types(stats),
        *_limits(stats),
        *_collaborations(stats),
    )


def _types(stats: Stats) -> list[RenderableType]:
    """Unfinished tasks by type, and what is paused."""
    rows: list[tuple[Cell, ...]] = []
    for of in stats.types:
        notes = [Text("paused", style="yellow")] if of.paused else []
        if of.unserved:
            notes.append(Text(f"no agent for {count(of.unserved)}", style="red"))
        counts = (count(number) for number in (of.pending, of.queued, of.running))
        rows.append((visible(of.type), *counts, Text(", ").join(notes)))
    return [Text(""), columns(("TYPE", "PENDING#", "QUEUED#", "RUNNING#", "NOTE"), rows)] if rows else []


def _limits(stats: Stats) -> list[RenderableType]:
    """What is used of limits that tasks share."""
    rows: list[tuple[Cell, ...]] = []
    for of in stats.limits:
        running = f"{count(of.running)} of {count(of.max_running)}" if of.max_running else count(of.running)
        window = elapsed(seconds_of(of.window))
        starts = f"{count(of.starts)} of {count(of.starts_max)} in {window}" if of.starts_max else NOTHING
        note = Text("used up", style="yellow") if of.exhausted else Text("")
        rows.append((visible(of.key), count(of.tasks), running, starts, note))
    return [Text(""), columns(("LIMIT", "TASKS#", "RUNNING!", "STARTED!", "NOTE"), rows)] if rows else []


def _collaborations(stats: Stats) -> list[RenderableType]:
    """One row a mode; nothing where none was used."""
    rows: list[tuple[Cell, ...]] = [
        (visible(mode), *(count(number) for number in (of.running, of.completed, of.failed, of.cancelled)))
        for mode, of in sorted(stats.collaborations_by_mode.items())
    ]
    if not rows:
        return []
    return [Text(""), columns(("COLLABORATIONS", "RUNNING#", "COMPLETED#", "FAILED#", "CANCELLED#"), rows)]


def headline(stats: Stats) -> Text:
    """Who answers, and since when."""
    version = visible(stats.server_version) or "upbeat"
    return Text.assemble((version, "bold"), f"  up {elapsed(seconds_of(stats.uptime))}")


def slots_line(stats: Stats) -> Text:
    """How full the fleet is, and what went wrong so far."""
    share = f" ({stats.slots_in_use / stats.slots:.0%})" if stats.slots else ""
    return Text(
        f"slots {count(stats.slots_in_use)} of {count(stats.slots)} in use{share}"
        f"   retries {count(stats.retries)}   leases lost {count(stats.leases_lost)}"
    )


def queue_table(stats: Stats) -> RenderableType:
    """Queued tasks by priority, the first in line on top."""
    queues = stats.queue_by_priority
    names = [*PRIORITIES, *sorted(set(queues) - set(PRIORITIES))]
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        depth = queues[name].depth if name in queues else 0
        oldest = elapsed(seconds_of(queues[name].oldest_age)) if depth else NOTHING
        rows.append((stated(name), count(depth), oldest))
    return columns(("QUEUE", "DEPTH#", "OLDEST#"), rows)


def stats_line(stats: Stats) -> Text:
    """The figures that move, on one line."""
    states = stats.tasks_by_state
    return Text(
        f"{clock()}"
        f"  queued {count(states.get('QUEUED', 0))}  running {count(states.get('RUNNING', 0))}"
        f"  submitted {rate(stats.submitted.per_second_1s)}  completed {rate(stats.completed.per_second_1s)}"
        f"  failed {rate(stats.failed.per_second_1s)}"
        f"  slots {count(stats.slots_in_use)}/{count(stats.slots)}"
        f"  wait p99 {_percentile(stats.wait, 'p99')}"
    )


def _counts(counts: Mapping[str, int], names: tuple[str, ...]) -> list[tuple[Cell, ...]]:
    extra = sorted(set(counts) - set(names))
    return [(stated(name), count(counts.get(name, 0))) for name in (*names, *extra)]


def _rate_rows(stats: Stats) -> list[tuple[Cell, ...]]:
    named: tuple[tuple[str, Rates], ...] = (
        ("submitted", stats.submitted),
        ("completed", stats.completed),
        ("failed", stats.failed),
    )
    return [
        (
            name,
            rate(item.per_second_1s),
            rate(item.per_second_1m),
            rate(item.per_second_5m),
            count(item.count),
        )
        for name, item in named
    ]


def _time_rows(stats: Stats) -> list[tuple[Cell, ...]]:
    named = (
        ("wait", stats.wait),
        ("run", stats.run),
        ("total", stats.total),
        ("dispatch", stats.dispatch),
        ("commit", stats.commit),
    )
    return [
        (name, *(_percentile(item, part) for part in ("p50", "p90", "p99", "max")), count(item.count))
        for name, item in named
    ]


def _percentile(percentiles: Percentiles, part: str) -> str:
    return elapsed(seconds_of(getattr(percentiles, part))) if percentiles.count else NOTHING
