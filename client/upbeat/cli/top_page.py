"""The picture of ``upbeat top``, made to fit the terminal whatever its size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from upbeat.cli.agents import state_name as agent_state_name
from upbeat.cli.formats import count, elapsed, rate, seconds_of, shortened, visible
from upbeat.cli.screen import Cell, columns, stated
from upbeat.cli.stats_tables import headline, queue_table
from upbeat.cli.task_tables import LIST_HEADS, task_row
from upbeat.cli.top_choices import HELP, ORDERS, Choices
from upbeat.v1.agent_pb2 import Agent
from upbeat.v1.stats_pb2 import Percentiles, Stats
from upbeat.v1.task_pb2 import Task

HISTORY = 60
_BAR_WIDTH = 12
_WIDE = 100
_ANY_WIDTH = 1 << 30
_AGENT_COLUMNS = (
    (50, (0, 1, 3)),
    (75, (0, 1, 3, 4)),
    (90, (0, 1, 2, 3, 4, 5)),
    (_ANY_WIDTH, (0, 1, 2, 3, 4, 5, 6)),
)
_TASK_COLUMNS = (
    (50, (0, 1, 2)),
    (70, (0, 1, 2, 6)),
    (100, (0, 1, 2, 6, 7)),
    (120, (0, 1, 2, 5, 6, 7)),
    (_ANY_WIDTH, tuple(range(len(LIST_HEADS)))),
)
"""Below each width, which columns there are."""
_SPARKS = "▁▂▃▄▅▆▇█"


@dataclass
class View:
    """What was last heard; ``problem`` is why nothing newer was."""

    stats: Stats = field(default_factory=Stats)
    agents: list[Agent] = field(default_factory=list)
    are_all_agents: bool = True
    running: list[Task] = field(default_factory=list)
    newest: list[Task] = field(default_factory=list)
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))  # Completed a second.
    problem: str = ""


def page(view: View, choices: Choices, where: str, size: tuple[int, int]) -> RenderableType:
    """The whole picture; ``size`` is columns and rows."""
    width, height = size
    title = _title(view, choices, where)
    title.truncate(width, overflow="ellipsis")
    if choices.shows_help:
        return Group(title, Text(""), _help())
    agents = choices.arrange(view.agents)
    head = _head(view, width)
    free_rows = height - 1 - head[1] - 2  # The title, and one empty line above each table.
    parts: list[RenderableType] = [title, head[0]]
    agent_rows = max(1, min(len(agents), (free_rows - 2) * 3 // 5)) if free_rows >= 4 else 1
    choices.rows = agent_rows
    parts += [Text(""), _agent_table(view, agents, choices, width)]
    if (task_rows := free_rows - agent_rows - 2) > 0:
        tasks = _tasks(view, choices)
        kept = _kept(_TASK_COLUMNS, width)
        heads = ("ITS TASKS" if choices.only_selected else "TASK", *LIST_HEADS[1:])
        rows = ([task_row(task)[number] for number in kept] for task in tasks[:task_rows])
        parts += [Text(""), columns([heads[number] for number in kept], rows)]
    return Group(*parts)


def _title(view: View, choices: Choices, where: str) -> Text:
    if choices.is_typing:
        return Text.assemble(("/", "bold"), visible(choices.looked_for), ("▏", "bold"))
    keys = ("   h help  q quits", "dim")
    if view.problem:
        return Text.assemble((f"{visible(view.problem)}; trying again", "bold red"), keys)
    title = Text.assemble(headline(view.stats), (f"  {where}", "dim"))
    if choices.is_held:
        title.append("  held", style="bold yellow")
    if choices.interval_s != 1:
        title.append(f"  every {elapsed(choices.interval_s)}", style="dim")
    if choices.looked_for:
        title.append(f"  /{visible(choices.looked_for)}", style="bold")
    title.append(*keys)
    return title


def _help() -> RenderableType:
    grid = Table.grid(padding=(0, 3))
    for key, words in HELP:
        grid.add_row(Text(key, style="bold"), Text(words))
    return grid


def _head(view: View, width: int) -> tuple[RenderableType, int]:
    """Queue, rates, times and slots, and how many rows they take."""
    stats = view.stats
    slots = Text.assemble("slots ", bar(stats.slots_in_use, stats.slots), f" {_slots(stats)}")
    slots.no_wrap = True
    slots.overflow = "ellipsis"
    queue = queue_table(stats)
    queue_rows = 1 + max(4, len(stats.queue_by_priority))
    if width < _WIDE - 30:
        return Group(slots, queue), queue_rows + 1
    head = Table.grid(padding=(0, 4))
    head.add_row(queue, _rates(view), *([_times(stats)] if width >= _WIDE else []))
    return Group(slots, head), queue_rows + 1


def _slots(stats: Stats) -> str:
    share = f" ({stats.slots_in_use / stats.slots:.0%})" if stats.slots else ""
    words = f"{count(stats.slots_in_use)} of {count(stats.slots)}{share}"
    if stats.retries:
        words += f"   retries {count(stats.retries)}"
    if stats.leases_lost:
        words += f"   leases lost {count(stats.leases_lost)}"
    return words


def _rates(view: View) -> RenderableType:
    stats = view.stats
    rows: list[tuple[Cell, ...]] = [
        (name, rate(item.per_second_1s), rate(item.per_second_1m))
        for name, item in (
            ("submitted", stats.submitted),
            ("completed", stats.completed),
            ("failed", stats.failed),
        )
    ]
    rows.append((Text(spark(view.rates, 20), style="green"), "", ""))
    return columns(("RATE", "1s#", "1m#"), rows)


def _times(stats: Stats) -> RenderableType:
    rows: list[tuple[Cell, ...]] = [
        (name, _time(item, "p50"), _time(item, "p99"))
        for name, item in (
            ("wait", stats.wait),
            ("run", stats.run),
            ("dispatch", stats.dispatch),
            ("commit", stats.commit),
        )
    ]
    return columns(("TIME", "p50#", "p99#"), rows)


def _time(percentiles: Percentiles, part: str) -> str:
    return elapsed(seconds_of(getattr(percentiles, part))) if percentiles.count else "-"


def spark(values: Iterable[float], width: int) -> str:
    """The last values as a line of blocks, the highest of them full."""
    last = list(values)[-width:]
    top = max(last, default=0.0)
    if top <= 0:
        return _SPARKS[0] * len(last)
    return "".join(_SPARKS[min(7, int(value / top * 7.999))] for value in last)


def _agent_table(view: View, agents: list[Agent], choices: Choices, width: int) -> RenderableType:
    total = f"{len(agents):,}{'' if view.are_all_agents else '+'}"
    names = {order.name: order for order in ORDERS}
    running: dict[str, list[Task]] = {}
    for task in view.running:
        running.setdefault(task.attempts[-1].agent_id if task.attempts else "", []).append(task)

    def head(name: str, words: str) -> str:
        if names[name] is not choices.order:
            return words
        is_down = choices.order.largest_first is not choices.is_turned
        return f"{words.rstrip('#!')}{'▾' if is_down else '▴'}{words[len(words.rstrip('#!')) :]}"

    heads = (
        head("agent", f"AGENT ({total})"),
        head("state", "STATE!"),
        head("load", "LOAD!"),
        "SLOTS#",
        head("done", "DONE#"),
        head("failed", "FAILED#"),
        "RUNNING",
    )
    shown = agents[choices.first : choices.first + choices.rows]
    kept = _kept(_AGENT_COLUMNS, width)
    every = (_agent_row(agent, running.get(agent.agent_id, [])) for agent in shown)
    table = columns([heads[number] for number in kept], ([row[number] for number in kept] for row in every))
    if choices.selected:
        for number, agent in enumerate(shown):
            if agent.agent_id == choices.selected:
                table.rows[number].style = "reverse"
    return table


def _agent_row(agent: Agent, running: list[Task]) -> tuple[Cell, ...]:
    types: dict[str, int] = {}
    for task in running:
        types[task.spec.type] = types.get(task.spec.type, 0) + 1
    words = ", ".join(f"{number} {name}" if number > 1 else name for name, number in sorted(types.items()))
    return (
        shortened(agent.agent_id, 40),
        stated(agent_state_name(agent.state)),
        bar(agent.in_use, agent.slots),
        f"{agent.in_use}/{agent.slots}",
        count(agent.completed_count),
        count(agent.failed_count),
        shortened(words, 60),
    )


def bar(used: int, whole: int) -> Text:
    """How full something is; yellow and red as it comes to the end."""
    share = min(1.0, used / whole) if whole else 0.0
    full = round(_BAR_WIDTH * share)
    style = "green" if share < 0.75 else "yellow" if share < 1 else "red"
    return Text.assemble(("━" * full, style), ("━" * (_BAR_WIDTH - full), "dim"))


def _kept(columns_by_width: tuple[tuple[int, tuple[int, ...]], ...], width: int) -> tuple[int, ...]:
    """The columns that say most where there is not room for all."""
    return next(kept for narrower_than, kept in columns_by_width if width < narrower_than)


def _tasks(view: View, choices: Choices) -> list[Task]:
    """Running tasks, the longest first, then the newest of the others; or those of one agent."""
    running = sorted(view.running, key=lambda task: task.start_time.ToNanoseconds())
    known = {task.task_id for task in running}
    tasks = [*running, *(task for task in view.newest if task.task_id not in known)]
    if choices.only_selected:
        return [task for task in tasks if task.attempts and task.attempts[-1].agent_id == choices.selected]
    return tasks
