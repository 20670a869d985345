"""ARCHITECTURE.md tells the truth: its diagrams are printed from the tables, its rooms exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upbeat_server.engine import agent_machine, task_machine
from upbeat_server.engine.model import AgentState, TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import IntEnum

SERVER = Path(__file__).parents[2] / "server"
TEXT = (SERVER / "ARCHITECTURE.md").read_text()


def diagram(table: Mapping[Any, IntEnum], states: type[IntEnum], start: tuple[IntEnum, ...]) -> str:
    """A transition table as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {state.name}" for state in start]
    for (before, task_input), after in table.items():
        lines.append(f"    {states(before).name} --> {after.name}: {task_input.name.lower()}")
    left = {int(before) for before, _ in table}
    lines += [f"    {state.name} --> [*]" for state in states if int(state) not in left]
    return "\n".join([*lines, "```"])


def test_the_task_diagram_is_the_task_table() -> None:
    start = (TaskState.PENDING, TaskState.QUEUED)
    assert diagram(task_machine.NEXT, TaskState, start) in TEXT


def test_the_agent_diagram_is_the_agent_table() -> None:
    start = (AgentState.DISCONNECTED,)
    assert diagram(agent_machine.NEXT, AgentState, start) in TEXT


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:engine|runtime|store|rpc|http|telemetry)/[a-z_/]+\.py)`", TEXT))
    assert named
    assert sorted(name for name in named if not (SERVER / "upbeat_server" / name).exists()) == []


def test_every_room_of_the_server_is_described() -> None:
    rooms = {path.name for path in (SERVER / "upbeat_server").iterdir() if (path / "__init__.py").exists()}
    assert sorted(room for room in rooms if f"`{room}/`" not in TEXT) == []
