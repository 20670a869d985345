"""The errors that collaborations fail with, in words that say which child and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Error, TaskState

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Child
    from upbeat_server.engine.model import TaskSpec

COMPLETED = TaskState.COMPLETED
WORDS_MAX = 300
"""Characters of a child's own words that are repeated; the child has them in full."""


def is_completed(child: Child) -> bool:
    """Whether it has an output. One that was cancelled, by whomever, counts as failed."""
    return child.state == COMPLETED


def clipped(words: str) -> str:
    """Words that others chose, kept to a length that fits into an error."""
    return words if len(words) <= WORDS_MAX else words[: WORDS_MAX - 3] + "..."


def size_of(error: Error | None) -> int:
    """Characters of an error, whose words and details may be 45,000."""
    if error is None:
        return 0
    return len(error.message) + sum(len(name) + len(text) for name, text in error.details.items())


def shortened(error: Error | None) -> Error | None:
    """The error with the beginning of its words and without details; the child has them in full."""
    if error is None:
        return None
    return Error(error.reason, clipped(error.message), error.non_retryable)


def described(child: Child) -> str:
    """Why a child has no output: reason and words."""
    reason = reason_of(child)
    if child.error is None or not child.error.message:
        return reason
    return f"{reason}: {clipped(child.error.message)}"


def reason_of(child: Child) -> str:
    """The reason of a child's error."""
    return child.error.reason if child.error is not None else reasons.CANCELLED


def label(spec: TaskSpec, key: str) -> str:
    """What a person calls a step: its name if it has one, with its key."""
    return f"{spec.name!r} ({key})" if spec.name else key


def task_text(task_id: int) -> str:
    """A task id as callers know it."""
    return f"{task_id:016x}"


def step_failed(spec: TaskSpec, child: Child, note: str = "") -> Error:
    """The collaboration failed because this step did."""
    return Error(
        reasons.STEP_FAILED,
        f"step {label(spec, child.key)} failed: {described(child)}{note}",
        details={"step": child.key, "task_id": task_text(child.task_id), "reason": reason_of(child)},
    )


def output_too_large(size: int, most: int, step: str) -> Error:
    """The output, or what has been gathered of it, is larger than one may be; ``step`` answered the most."""
    words = (
        f"the output has {size:,} bytes; the limit is {most:,}: let the step {step!r}, whose output is the "
        "largest, answer less or a reference"
    )
    return Error(reasons.OUTPUT_TOO_LARGE, words, non_retryable=True, details={"step": step})


def invalid_form(what: str, problem: str, **details: str) -> Error:
    """Something that had to be read could not be: ``what`` it was, and the ``problem`` with it."""
    return Error(reasons.INVALID_FORM, f"{what} {problem}", details=details)
