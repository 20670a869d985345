"""Tasks as people see them: a row of a list, a page about one, a line of a watch."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.text import Text

from upbeat.cli.collaboration_tables import collaboration_facts, kind_name, show_result
from upbeat.cli.documents import payload_value
from upbeat.cli.formats import (
    NOTHING,
    between,
    clock,
    elapsed,
    is_set,
    local_time,
    seconds_of,
    short_name,
    shortened,
    visible,
)
from upbeat.cli.screen import Cell, Screen, columns, stated
from upbeat.v1.payload_pb2 import Error, Payload
from upbeat.v1.task_pb2 import Attempt, Task
from upbeat.v1.task_service_pb2 import ExplainTaskResponse, TaskProgress, WaitReason
from upbeat.v1.task_spec_pb2 import Priority, TaskSpec

FINISHED = frozenset((Task.STATE_COMPLETED, Task.STATE_FAILED, Task.STATE_CANCELLED))
LIST_HEADS = ("TASK", "TYPE", "STATE!", "PRIORITY", "TRIES#", "AGE#", "TOOK#", "AGENT", "NOTE")
LIST_LEAST = ("PRIORITY", "TRIES", "AGENT", "TOOK", "NOTE", "AGE", "TYPE")
"""What a narrow terminal does without, first to last."""
_PAYLOAD_BYTES_SHOWN = 16_384


def state_name(state: Task.State.ValueType) -> str:
    """``RUNNING``; a state of a newer server by its number."""
    return short_name(Task.State.Name(state), "STATE_") if state in Task.State.values() else str(state)


def priority_name(priority: Priority.ValueType) -> str:
    """``HIGH``; unspecified is NORMAL."""
    if priority not in Priority.values():
        return str(priority)
    name = Priority.Name(priority).removeprefix("PRIORITY_")
    return "NORMAL" if name == "UNSPECIFIED" else name


def task_row(task: Task) -> tuple[Cell, ...]:
    """A row under ``LIST_HEADS``."""
    return (
        task.task_id,
        shortened(kind_name(task.spec), 40),
        stated(state_name(task.state)),
        stated(priority_name(task.spec.priority)),
        str(task.attempt_count),
        age(task),
        between(task.start_time, task.end_time) if is_set(task.start_time) else NOTHING,
        shortened(task.attempts[-1].agent_id, 40) if task.attempts else NOTHING,
        note(task),
    )


def age(task: Task) -> str:
    """How long ago it was submitted."""
    return between(task.create_time, type(task.create_time)())


def note(task: Task) -> str:
    """What else is worth a glance: the error, the progress, or when a pending task goes on."""
    if task.state in (Task.STATE_FAILED, Task.STATE_CANCELLED) or (
        task.error.reason and task.state != Task.STATE_COMPLETED
    ):
        return shortened(error_line(task.error), 100)
    if task.state == Task.STATE_RUNNING and (task.progress or task.progress_message):
        return shortened(f"{task.progress:.0%} {task.progress_message}", 100)
    if task.state == Task.STATE_PENDING and is_set(task.eligible_time):
        return f"until {local_time(task.eligible_time)}"
    return ""


def error_line(error: Error) -> str:
    """``REASON: message``; the reason CANCELLED says nothing that the state does not."""
    if error.message and error.reason == "CANCELLED":
        return error.message
    return f"{error.reason}: {error.message}" if error.message else error.reason


def payload_text(payload: Payload) -> str:
    """A payload for reading: JSON laid out, text as it is, other bytes by their count and beginning."""
    is_json, value = payload_value(payload)
    if is_json:
        return json.dumps(value, indent=2, ensure_ascii=False)
    try:
        return payload.data.decode()
    except UnicodeDecodeError:
        beginning = payload.data[:32].hex(" ")
        kind = payload.content_type or "application/octet-stream"
        return f"{len(payload.data):,} bytes of {kind}: {beginning} ..."


def show_task(screen: Screen, task: Task, winner: Task | None = None) -> None:
    """The page about one task; ``winner`` is the child that won, if that is known."""
    screen.facts(_task_facts(task, winner))
    if task.attempts:
        screen.show(Text("\nattempts", style="bold"))
        heads = ("TRY#", "AGENT", "OUTCOME!", "STARTED!", "TOOK#", "NOTE")
        screen.table(heads, (_attempt_row(attempt) for attempt in task.attempts))
    show_result(screen, task.collaboration_result)
    for name, payload in (("input", task.spec.input), ("output", task.output)):
        if payload.data:
            screen.show(Text(f"\n{name}", style="bold"))
            screen.show(Text(_cut(payload_text(payload))))


def _cut(text: str) -> str:
    shown = visible(text[:_PAYLOAD_BYTES_SHOWN], lines=True)
    rest = len(text) - _PAYLOAD_BYTES_SHOWN
    return shown if rest <= 0 else f"{shown}\n... {rest:,} more characters: see all with -o json"


def _task_facts(task: Task, winner: Task | None) -> Iterable[tuple[str, Cell]]:
    spec = task.spec
    yield "task", task.task_id
    yield "collaboration" if spec.HasField("collaboration") else "type", kind_name(spec)
    if spec.name:
        yield "name", spec.name
    yield "state", stated(state_name(task.state))
    if task.state == Task.STATE_RUNNING:
        yield "progress", f"{task.progress:.0%} {task.progress_message}"
    if task.error.reason:
        yield "error" if task.state in FINISHED else "last error", error_line(task.error)
    yield from collaboration_facts(task, winner)
    yield "priority", stated(priority_name(spec.priority))
    yield from _requirement_facts(spec)
    if spec.labels:
        yield "labels", "  ".join(f"{key}={value}" for key, value in sorted(spec.labels.items()))
    if task.request_id:
        yield "request id", task.request_id
    yield "submitted", f"{local_time(task.create_time)} ({age(task)} ago)"
    if is_set(task.start_time):
        yield "waited", between(task.create_time, task.start_time)
        yield "took", between(task.start_time, task.end_time)
    if task.state == Task.STATE_PENDING and is_set(task.eligible_time):
        yield "eligible", local_time(task.eligible_time)
    if is_set(task.deadline_time) and task.state not in FINISHED:
        yield "deadline", local_time(task.deadline_time)
    if is_set(task.end_time):
        yield "ended", local_time(task.end_time)
    usage = task.usage
    if usage.input_tokens or usage.output_tokens or usage.cost_micros:
        cost = f"cost {usage.cost_micros / 1e6:.6f}"
        yield "usage", f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out, {cost}"


def _requirement_facts(spec: TaskSpec) -> Iterable[tuple[str, Cell]]:
    if spec.required_capabilities:
        yield "requires", ", ".join(spec.required_capabilities)
    if spec.selector:
        yield "selector", spec.selector
    if spec.sticky_key:
        yield "sticky key", spec.sticky_key
    if spec.fairness_key:
        yield "fairness key", spec.fairness_key
    if spec.dedup_key:
        yield "dedup key", spec.dedup_key
    for name in ("queue_timeout", "attempt_timeout", "total_timeout"):
        if spec.HasField(name):
            yield name.replace("_", " "), elapsed(seconds_of(getattr(spec, name)))


def outcome_name(outcome: Attempt.Outcome.ValueType) -> str:
    """``COMPLETED``; a running attempt is RUNNING."""
    if outcome == Attempt.OUTCOME_UNSPECIFIED:
        return "RUNNING"
    return (
        Attempt.Outcome.Name(outcome).removeprefix("OUTCOME_")
        if outcome in Attempt.Outcome.values()
        else str(outcome)
    )


def _attempt_row(attempt: Attempt) -> tuple[Cell, ...]:
    return (
        str(attempt.attempt),
        attempt.agent_id,
        stated(outcome_name(attempt.outcome)),
        local_time(attempt.start_time),
        between(attempt.start_time, attempt.end_time),
        shortened(error_line(attempt.error), 100) if attempt.error.reason else "",
    )


def watch_line(screen: Screen, task: Task) -> None:
    """One line of a watch: a task as it is now."""
    latest = task.attempts[-1] if task.attempts else None
    agent = (
        latest.agent_id
        if latest is not None and task.state not in (Task.STATE_PENDING, Task.STATE_QUEUED)
        else ""
    )
    took = f"in {between(task.create_time, task.end_time)}" if task.state in FINISHED else ""
    attempt = f"attempt {task.attempt_count}" if task.attempt_count > 1 else ""
    rest = "  ".join(part for part in (agent, attempt, took, note(task)) if part)
    state = state_name(task.state)
    screen.line(
        clock(),
        task.task_id,
        Text.assemble(stated(state), " " * (9 - len(state))),
        shortened(kind_name(task.spec), 40),
        rest,
    )


def progress_line(screen: Screen, progress: TaskProgress) -> None:
    """One line of a watch: what a running attempt says; its chunk as text beneath."""
    screen.line(clock(), progress.task_id, f"{progress.fraction:>9.0%}", progress.message)
    if progress.chunk:
        screen.show(Text(visible(progress.chunk.decode(errors="replace"), lines=True)))


def left_line(screen: Screen, task_id: str) -> None:
    """One line of a watch: a task that no longer matches the filter."""
    screen.line(clock(), task_id, "left     ", "no longer matches the filter")


def show_explanation(screen: Screen, task_id: str, answer: ExplainTaskResponse) -> None:
    """Why a task waits, or why its agent was chosen."""
    screen.line(task_id, stated(state_name(answer.state)))
    if answer.choice:
        screen.line(f"choice: {answer.choice}")
    for reason in answer.reasons:
        kind = (
            short_name(WaitReason.Kind.Name(reason.kind), "KIND_")
            if reason.kind in WaitReason.Kind.values()
            else ""
        )
        until = f" (until {local_time(reason.until_time)})" if is_set(reason.until_time) else ""
        screen.line(Text(visible(kind.lower().replace("_", " ")), style="bold"), f"{reason.message}{until}")
    if answer.closest_agents:
        rows = [
            (fit.agent_id, str(fit.free_slots), "; ".join(fit.lacks) or "could take it")
            for fit in answer.closest_agents
        ]
        screen.show(Text("\nclosest agents", style="bold"))
        screen.show(columns(("AGENT", "FREE#", "LACKS"), rows))
