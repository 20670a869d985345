"""The life of a task as a table: ``(state, input) -> next state``; what is absent is illegal.

The diagram in ``server/ARCHITECTURE.md`` is printed from this table and a test
covers every edge. A submission enters as PENDING or QUEUED.
"""

from __future__ import annotations

from enum import IntEnum

from upbeat_server.engine.model import TaskState


class TaskInput(IntEnum):
    """What can happen to a task."""

    BECOME_ELIGIBLE = 1  # Its start time or its backoff has come.
    ASSIGN = 2  # An agent gets its lease.
    COMPLETE = 3  # The current lease reported an output.
    BACK_OFF = 4  # The attempt failed and is tried again later.
    RETURN = 5  # The attempt ended without fault of the task: back to the queue.
    FAIL = 6  # Given up.
    CANCEL = 7  # Somebody wants it ended.
    START = 8  # A collaboration makes its first children; no agent holds it.
    OVERTAKE = 9  # An older lease, which a hedge was begun beside, reported an output.


_P, _Q, _R = TaskState.PENDING, TaskState.QUEUED, TaskState.RUNNING

NEXT: dict[tuple[int, TaskInput], TaskState] = {
    (_P, TaskInput.BECOME_ELIGIBLE): TaskState.QUEUED,
    (_P, TaskInput.START): TaskState.RUNNING,
    (_P, TaskInput.OVERTAKE): TaskState.COMPLETED,
    (_P, TaskInput.FAIL): TaskState.FAILED,
    (_P, TaskInput.CANCEL): TaskState.CANCELLED,
    (_Q, TaskInput.ASSIGN): TaskState.RUNNING,
    (_Q, TaskInput.OVERTAKE): TaskState.COMPLETED,
    (_Q, TaskInput.FAIL): TaskState.FAILED,
    (_Q, TaskInput.CANCEL): TaskState.CANCELLED,
    (_R, TaskInput.COMPLETE): TaskState.COMPLETED,
    (_R, TaskInput.OVERTAKE): TaskState.COMPLETED,
    (_R, TaskInput.BACK_OFF): TaskState.PENDING,
    (_R, TaskInput.RETURN): TaskState.QUEUED,
    (_R, TaskInput.FAIL): TaskState.FAILED,
    (_R, TaskInput.CANCEL): TaskState.CANCELLED,
}

TERMINAL = frozenset(state for state in TaskState if state not in {before for before, _ in NEXT})
"""States without a way out."""


class IllegalTransitionError(Exception):
    """A defect of the engine: an input arrived in a state that has no such edge."""


def next_state(state: int, task_input: TaskInput) -> TaskState:
    """The state after the input. Raises IllegalTransitionError where the table has no edge."""
    after = NEXT.get((state, task_input))
    if after is None:
        message = f"{TaskState(state).name} has no edge {task_input.name}"
        raise IllegalTransitionError(message)
    return after
