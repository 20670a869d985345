"""What whoever watches ``upbeat top`` has chosen: the order, the place, what to look for.

No terminal and no server here: keys go in, choices come out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from upbeat.v1.agent_pb2 import Agent

INTERVALS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

_STATE_ORDER = {Agent.STATE_CONNECTED: 0, Agent.STATE_SUSPECT: 1, Agent.STATE_DRAINING: 2}


def _load(agent: Agent) -> float:
    return agent.in_use / agent.slots if agent.slots else 0.0


@dataclass(frozen=True)
class Order:
    """One way to sort agents: by what, and whether the largest come first."""

    key: str
    name: str
    of: Callable[[Agent], Any]
    largest_first: bool = True


ORDERS = (
    Order("l", "load", lambda agent: (_load(agent), agent.in_use)),
    Order("a", "agent", lambda agent: agent.agent_id, largest_first=False),
    Order("s", "state", lambda agent: _STATE_ORDER.get(agent.state, 3), largest_first=False),
    Order("d", "done", lambda agent: agent.completed_count),
    Order("f", "failed", lambda agent: agent.failed_count),
)
"""By the key that chooses it."""

HELP = (
    ("up down, j k, page, home end", "go through the agents"),
    ("enter", "tasks of the agent only, and back to those of all"),
    ("l a s d f", "sort by load, agent, state, done, failed; the same again turns it round"),
    ("/", "only agents with this in their id, name, capabilities or labels"),
    ("escape", "give up what was typed or chosen; then leave"),
    ("+ -", "look more often, or less"),
    ("space, p", "hold the picture still, and go on"),
    ("h ?", "this page"),
    ("q", "leave"),
)


@dataclass
class Choices:
    """All that can be chosen."""

    order: Order = ORDERS[0]
    is_turned: bool = False
    cursor: int = 0
    selected: str = ""  # The agent under the cursor, which it follows when the order changes.
    only_selected: bool = False
    looked_for: str = ""
    is_typing: bool = False
    is_held: bool = False
    shows_help: bool = False
    is_over: bool = False
    interval_s: float = 1.0
    shown: list[Agent] = field(default_factory=list)
    rows: int = 10  # Of the agents' table; a page.

    def arrange(self, agents: list[Agent]) -> list[Agent]:
        """The agents to show, in order; the cursor stays on its agent where that is among them."""
        wanted = self.looked_for.lower()
        found = [agent for agent in agents if not wanted or wanted in _words(agent)]
        found.sort(key=lambda agent: agent.agent_id)
        found.sort(key=self.order.of, reverse=self.order.largest_first is not self.is_turned)
        ids = [agent.agent_id for agent in found]
        if self.selected in ids:
            self.cursor = ids.index(self.selected)
        self.shown = found
        self._move_to(self.cursor, is_chosen=bool(self.selected))
        return found

    @property
    def first(self) -> int:
        """The first row to draw, so that the cursor is in view."""
        if not self.selected:
            return 0
        return max(0, min(self.cursor - self.rows // 2, len(self.shown) - self.rows))

    def press(self, key: str) -> None:
        """Take a key."""
        if self.is_typing:
            self._type(key)
        elif self.shows_help:
            self.shows_help = False
            self.is_over = key == "q"
        elif not self._go(key):
            self._choose(key)

    def _type(self, key: str) -> None:
        if key == "enter":
            self.is_typing = False
        elif key == "escape":
            self.is_typing, self.looked_for = False, ""
        elif key == "backspace":
            self.looked_for = self.looked_for[:-1]
        elif len(key) == 1 and key.isprintable():
            self.looked_for += key

    def _go(self, key: str) -> bool:
        steps = {
            "up": -1,
            "k": -1,
            "down": 1,
            "j": 1,
            "page up": -self.rows,
            "page down": self.rows,
            "home": -len(self.shown),
            "end": len(self.shown),
        }
        if key not in steps:
            return False
        start = self.cursor if self.selected else -1 if steps[key] > 0 else 0
        self._move_to(start + steps[key], is_chosen=True)
        return True

    def _move_to(self, row: int, *, is_chosen: bool) -> None:
        self.cursor = max(0, min(row, len(self.shown) - 1))
        if is_chosen:
            self.selected = self.shown[self.cursor].agent_id if self.shown else ""

    def _choose(self, key: str) -> None:
        for order in ORDERS:
            if key.lower() == order.key:
                self.is_turned = order is self.order and not self.is_turned
                self.order = order
        if key in ("q", "Q"):
            self.is_over = True
        elif key == "escape":
            self._give_up()
        elif key == "enter":
            self.only_selected = bool(self.selected) and not self.only_selected
        elif key == "/":
            self.is_typing = True
        elif key in (" ", "p"):
            self.is_held = not self.is_held
        elif key in ("h", "?"):
            self.shows_help = True
        elif key in ("+", "="):
            self.interval_s = max((step for step in INTERVALS_S if step < self.interval_s), default=0.25)
        elif key == "-":
            self.interval_s = min((step for step in INTERVALS_S if step > self.interval_s), default=30.0)

    def _give_up(self) -> None:
        if not (self.only_selected or self.looked_for or self.selected):
            self.is_over = True
        self.only_selected, self.looked_for, self.selected, self.cursor = False, "", "", 0


def _words(agent: Agent) -> str:
    labels = " ".join(f"{key}={value}" for key, value in agent.labels.items())
    return f"{agent.agent_id} {agent.name} {' '.join(agent.capabilities)} {labels}".lower()
