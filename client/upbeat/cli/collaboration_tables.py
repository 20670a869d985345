"""Collaborations as people see them: what they are, and what they came to."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.text import Text

from upbeat.cli.documents import payload_value
from upbeat.cli.formats import NOTHING, elapsed, seconds_of, shortened
from upbeat.cli.screen import Cell, Screen, stated
from upbeat.v1.payload_pb2 import Error, Payload
from upbeat.v1.task_pb2 import CollaborationResult, Task
from upbeat.v1.task_spec_pb2 import Collaboration, TaskSpec

MODES = frozenset(
    (
        "collaboration",
        "sequence",
        "race",
        *(field.name for field in Collaboration.DESCRIPTOR.oneofs_by_name["mode"].fields),
    )
)
"""What people call collaborations; none of it is a type of tasks."""

_ROWS_MAX = 100


def kind_name(spec: TaskSpec) -> str:
    """What a task is: its type, or its mode and steps, such as ``consensus(classify x5)``."""
    if not spec.HasField("collaboration"):
        return spec.type
    mode = spec.collaboration.WhichOneof("mode") or "collaboration"
    return f"{mode_name(spec)}({_steps_text(spec, mode)})"


def mode_name(spec: TaskSpec) -> str:
    """``consensus``; a custom mode by the name it is installed under."""
    mode = spec.collaboration.WhichOneof("mode") or ""
    return spec.collaboration.custom.name if mode == "custom" else mode


def _steps_text(spec: TaskSpec, mode: str) -> str:
    group = spec.collaboration
    if mode == "consensus":
        return f"{_step_name(group.consensus.voter)} x{group.consensus.voters or 3}"
    if mode == "competitive":
        names = [_step_name(step) for step in group.competitive.candidates]
        return ", ".join(names) + (f" x{group.competitive.count}" if group.competitive.count else "")
    if mode == "pipeline":
        return " > ".join(_step_name(step) for step in group.pipeline.stages)
    if mode == "sequential":
        return " > ".join(_step_name(step) for step in group.sequential.steps)
    steps = group.parallel.steps if mode == "parallel" else group.custom.steps
    text = ", ".join(_step_name(step) for step in steps)
    return f"{text} for each" if mode == "parallel" and group.parallel.HasField("map_over") else text


def _step_name(step: TaskSpec) -> str:
    return step.name or (mode_name(step) if step.HasField("collaboration") else step.type)


def value_text(payload: Payload) -> str:
    """A value that was voted for, on one line; text without its quotes."""
    is_json, value = payload_value(payload)
    if not is_json:
        return payload.data.decode(errors="replace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def tally_text(result: CollaborationResult) -> str:
    """A vote on one line: ``spam 3, ham 1; margin 2, 1 missing``; weights where they are not 1."""
    counted = [
        f"{shortened(value_text(entry.value), 40)} {entry.ballots}"
        + ("" if entry.weight == entry.ballots else f" (weight {entry.weight:g})")
        for entry in result.tally
    ]
    notes = [f"margin {result.margin:g}"] if result.tally else []
    if result.missing:
        abstained = f" ({result.abstained} abstained)" if result.abstained else ""
        notes.append(f"{result.missing} missing{abstained}")
    if result.rounds > 1:
        notes.append(f"{result.rounds} rounds")
    if result.decided_early:
        notes.append("decided early")
    return "; ".join(part for part in (", ".join(counted), ", ".join(notes)) if part)


def winner_text(winner: Task) -> str:
    """``fast (candidate/1) by writer-1``: what won, at which place, and whose it is."""
    agent = f" by {winner.attempts[-1].agent_id}" if winner.attempts else ""
    return f"{_step_name(winner.spec)} ({winner.member}){agent}"


def collaboration_facts(task: Task, winner: Task | None = None) -> Iterable[tuple[str, Cell]]:
    """What there is to say about a collaboration, or about a child of one."""
    if task.parent_task_id:
        place = f" as {task.member}" if task.member else ""
        yield "child of", f"{task.parent_task_id}{place}"
    if task.root_task_id not in ("", task.task_id, task.parent_task_id):
        yield "root", task.root_task_id
    if task.HasField("children"):
        counts = task.children
        named = ("live", "completed", "failed", "cancelled")
        told = [f"{number:,} {name}" for name in named if (number := getattr(counts, name))]
        yield "children", ", ".join(told) or "none yet"
    result = task.collaboration_result
    if result.tally:
        yield "vote", tally_text(result)
    if result.HasField("winning_value"):
        yield "verdict", value_text(result.winning_value)
    if result.winner_task_id:
        who = f"  {winner_text(winner)}" if winner is not None else ""
        yield "winner", result.winner_task_id + who
    if result.dissent_task_ids:
        yield "dissent", ", ".join(result.dissent_task_ids)
    if result.completed_items or result.failed_items:
        yield "items", f"{result.completed_items:,} done, {result.failed_items:,} given up"
    if seconds_of(result.wasted) > 0:
        yield "wasted", elapsed(seconds_of(result.wasted))


def show_result(screen: Screen, result: CollaborationResult) -> None:
    """The tables of what a collaboration came to, as far as there is anything in them."""
    if result.item_errors:
        screen.show(Text("\nitems given up", style="bold"))
        rows = [
            (str(item.index), str(item.stage), item.task_id, _error_text(item.error))
            for item in result.item_errors[:_ROWS_MAX]
        ]
        screen.table(("ITEM#", "STAGE#", "TASK", "ERROR"), rows)
        _tell_rest(screen, len(result.item_errors))
    if result.partial:
        screen.show(Text("\nwhat the children came to", style="bold"))
        children = [
            (
                child.task_id,
                shortened(child.name, 40) or NOTHING,
                stated(Task.State.Name(child.state).removeprefix("STATE_")),
                _error_text(child.error) or shortened(value_text(child.output), 100),
            )
            for child in result.partial[:_ROWS_MAX]
        ]
        screen.table(("TASK", "STEP", "STATE!", "OUTPUT OR ERROR"), children)
        _tell_rest(screen, len(result.partial))


def _tell_rest(screen: Screen, count: int) -> None:
    if count > _ROWS_MAX:
        screen.say(f"the first {_ROWS_MAX:,} of {count:,}; see all with -o json", style="dim")


def _error_text(error: Error) -> str:
    return shortened(f"{error.reason}: {error.message}" if error.message else error.reason, 100)
