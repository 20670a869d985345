"""What collaborations have used of their budgets, and who sits where.

Reserved when an attempt is handed out, settled when it ends, for the group and all
above it: what runs at the same time cannot overshoot a budget.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Error

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.task import Task


class Room(IntEnum):
    """Whether a budget allows one attempt more."""

    YES = 0
    LATER = 1  # What runs now may leave room.
    NEVER = 2


def room_for(member: Group) -> tuple[Room, Group]:
    """Whether a child of the group may be handed out, and which budget says no."""
    if not member.is_bounded:
        return Room.YES, member
    for group in member.lineage():
        budget = group.budget
        room = Room.YES
        if budget.attempts_max and group.attempts >= budget.attempts_max:
            room = Room.LATER
        if budget.cost_micros_max:
            cost = group.cost_micros + group.reserved_micros + budget.attempt_cost_micros
            if cost > budget.cost_micros_max:
                room = Room.LATER
        if room:
            return (room if group.running else Room.NEVER), group
    return Room.YES, member


def room_for_child(member: Group) -> Group | None:
    """The budget that allows no further child; None if there is room."""
    if not member.is_bounded:
        return None
    for group in member.lineage():
        most = group.budget.children_max
        if most and group.made_below >= most:
            return group
    return None


def exhausted(group: Group) -> Error:
    """Why a group ends whose budget is used up."""
    budget = group.budget
    if budget.attempts_max and group.attempts >= budget.attempts_max:
        words = f"{group.attempts} attempts were handed out, max_attempts_total is {budget.attempts_max}"
    elif budget.cost_micros_max and (group.cost_micros + budget.attempt_cost_micros > budget.cost_micros_max):
        words = (
            f"{group.cost_micros:,} micros were used and an attempt is reserved with "
            f"{budget.attempt_cost_micros:,}; max_cost_micros is {budget.cost_micros_max:,}"
        )
    else:
        words = f"{group.made_below} children were made, max_children is {budget.children_max}"
    return Error(reasons.BUDGET_EXCEEDED, f"the budget is used up: {words}", non_retryable=True)


def reserve(task: Task, agent: Agent) -> None:
    """A child is handed to an agent."""
    member = task.member_of
    if member is None:
        return
    task.cost_before = task.record.usage.cost_micros
    member.sit(task.record.member, agent.agent_id)
    group: Group | None = member
    while group is not None:  # Not by its lineage: with every attempt.
        group.attempts += 1
        group.running += 1
        group = group.parent


def settle(task: Task) -> None:
    """The running attempt of a child ended; what it used is in the task's record."""
    member = task.member_of
    if member is None:
        return
    cost = task.record.usage.cost_micros - task.cost_before
    group: Group | None = member
    while group is not None:
        group.running -= 1
        group.cost_micros += cost
        group = group.parent
