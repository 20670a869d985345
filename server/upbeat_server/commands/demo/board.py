"""What whoever watches the demo sees while it runs: a live board, or plain lines into a pipe."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from upbeat.cli.formats import NOTHING, count, elapsed, rate, visible
from upbeat.cli.screen import Screen, columns, stated
from upbeat_server.commands.demo import skills
from upbeat_server.commands.demo.campaign import Campaign
from upbeat_server.commands.demo.collaborations import Act
from upbeat_server.commands.demo.roster import Profile

_EVENTS_SHOWN = 6
_BOARD_ROWS = 20
_BAR_WIDTH = 28
_LINE_EVERY_S = 3.0
_RATE_WINDOW_S = 3.0


@dataclass
class AgentState:
    """An agent as the server sees it now."""

    state: str = "STARTING"
    in_use: int = 0
    completed: int = 0


@dataclass
class Fleet:
    """What the server last said about agents and queue."""

    agents: dict[str, AgentState] = field(default_factory=dict)
    queued: int = 0
    running: int = 0
    retries: int = 0
    leases_lost: int = 0


class Board:
    """Draws the campaign: refreshed by ``draw``, told of happenings by ``announce``."""

    def __init__(self, screen: Screen, title: str, profiles: list[Profile]) -> None:
        self.fleet = Fleet()
        self._screen = screen
        self._title = title
        self._profiles = profiles
        self._events: deque[str] = deque(maxlen=_EVENTS_SHOWN)
        self._begin_s = time.monotonic()
        self._history: deque[tuple[float, int]] = deque()
        self._next_line_s = self._begin_s + _LINE_EVERY_S
        self._live: Live | None = None
        self.killed = ""

    @property
    def elapsed_s(self) -> float:
        """Since the board was made."""
        return time.monotonic() - self._begin_s

    @contextmanager
    def shown(self) -> Iterator[None]:
        """On the terminal, if there is one; the last picture stays."""
        if not self._screen.is_interactive:
            yield
            return
        with Live(console=self._screen.err, auto_refresh=False, vertical_overflow="crop") as self._live:
            yield
        self._live = None

    def announce(self, message: str) -> None:
        """A happening, with its time."""
        line = f"{elapsed(self.elapsed_s):>7}  {message}"
        self._events.append(line)
        if self._live is None:
            self._screen.say(line)

    def draw(self, campaign: Campaign, acts: Sequence[Act] = ()) -> None:
        """The board as things are now, once there are acts with those; into a pipe a line now and then."""
        now = time.monotonic()
        self._history.append((now, campaign.done))
        while now - self._history[0][0] > _RATE_WINDOW_S:
            self._history.popleft()
        if self._live is not None:
            self._live.update(self._picture(campaign, acts), refresh=True)
        elif not self._screen.is_interactive and not acts and now >= self._next_line_s:
            self._next_line_s = now + _LINE_EVERY_S
            self._screen.say(self._line(campaign))

    def _rate(self) -> float:
        (first_s, first), (last_s, last) = self._history[0], self._history[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0

    def _line(self, campaign: Campaign) -> str:
        fleet = self.fleet
        busy = sum(agent.in_use for agent in fleet.agents.values())
        return (
            f"{elapsed(self.elapsed_s):>7}  {count(campaign.done)} of {count(campaign.total)} tasks done, "
            f"{rate(self._rate())}, {count(fleet.queued)} queued, {busy} slots in use, "
            f"{count(fleet.leases_lost)} leases lost"
        )

    def _picture(self, campaign: Campaign, acts: Sequence[Act]) -> RenderableType:
        fleet = self.fleet
        head = Text.assemble(("upbeat demo", "bold"), f"  {visible(self._title)}  {elapsed(self.elapsed_s)}")
        figures = Text(
            f"{rate(self._rate())}   queued {count(fleet.queued)}   running {count(fleet.running)}"
            f"   retries {count(fleet.retries)}   leases lost {count(fleet.leases_lost)}"
        )
        # A board that is cut loses its end: the last happenings must fit, each on up to two lines.
        room = max(1, (self._screen.err.size.height - _BOARD_ROWS) // 2)
        events = [Text(visible(event), style="dim") for event in list(self._events)[-room:]]
        work = self._acts(acts) if acts else self._types(campaign)
        return Group(head, Text(""), work, figures, Text(""), self._agents(), Text(""), *events)

    @staticmethod
    def _types(campaign: Campaign) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for head in ("TASKS", "PRIORITY", "", ""):
            table.add_column(head, no_wrap=True)
        for name, score in campaign.scores.items():
            failed = f", {count(score.failed)} failed" if score.failed else ""
            table.add_row(
                Text(name),
                stated(skills.PRIORITIES[name].upper()),
                ProgressBar(total=max(1, score.total), completed=score.done, width=_BAR_WIDTH),
                Text(f"{count(score.done)}/{count(score.total)}{failed}"),
            )
        return table

    @staticmethod
    def _acts(acts: Sequence[Act]) -> Table:
        rows = [
            (
                act.name,
                act.mode,
                f"{act.done}/{act.total}" if act.total else NOTHING,
                Text(visible(act.error), style="bold red") if act.error else act.result,
            )
            for act in acts
        ]
        return columns(("TOGETHER", "MODE!", "DONE#", "RESULT"), rows)

    def _agents(self) -> Table:
        rows = []
        for profile in self._profiles:
            agent = self.fleet.agents.get(profile.name, AgentState())
            state = "KILLED" if profile.name == self.killed else agent.state
            use = Text.assemble(
                ("■" * agent.in_use, "cyan"), ("□" * max(0, profile.slots - agent.in_use), "dim")
            )
            kinds = ", ".join(skill.removeprefix("review.") for skill in profile.skills)
            slow = " (slow)" if profile.pause_ms else ""
            shown = Text(state, style="bold red") if state == "KILLED" else stated(state)
            rows.append((profile.name, shown, use, count(agent.completed), f"{kinds}{slow}"))
        return columns(("AGENT", "STATE!", "SLOTS!", "DONE#", "SKILLS"), rows)
