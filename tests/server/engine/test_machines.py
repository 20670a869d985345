"""Every pair of state and input: the table's edge, or an error."""

from __future__ import annotations

import pytest

from upbeat_server.engine import agent_machine, task_machine
from upbeat_server.engine.agent_machine import AgentInput, IllegalAgentInputError, next_agent_state
from upbeat_server.engine.model import FINISHED, AgentState, TaskState
from upbeat_server.engine.task_machine import TERMINAL, IllegalTransitionError, TaskInput, next_state

TASK_EDGES = """
    PENDING BECOME_ELIGIBLE QUEUED
    PENDING START RUNNING
    PENDING OVERTAKE COMPLETED
    PENDING FAIL FAILED
    PENDING CANCEL CANCELLED
    QUEUED ASSIGN RUNNING
    QUEUED OVERTAKE COMPLETED
    QUEUED FAIL FAILED
    QUEUED CANCEL CANCELLED
    RUNNING COMPLETE COMPLETED
    RUNNING OVERTAKE COMPLETED
    RUNNING BACK_OFF PENDING
    RUNNING RETURN QUEUED
    RUNNING FAIL FAILED
    RUNNING CANCEL CANCELLED
"""
AGENT_EDGES = """
    CONNECTED CONNECT CONNECTED
    CONNECTED HEAR CONNECTED
    CONNECTED DRAIN DRAINING
    CONNECTED MISS SUSPECT
    CONNECTED LEAVE DISCONNECTED
    SUSPECT CONNECT CONNECTED
    SUSPECT HEAR CONNECTED
    SUSPECT DRAIN SUSPECT
    SUSPECT MISS SUSPECT
    SUSPECT LEAVE DISCONNECTED
    DRAINING CONNECT CONNECTED
    DRAINING HEAR DRAINING
    DRAINING DRAIN DRAINING
    DRAINING MISS SUSPECT
    DRAINING LEAVE DISCONNECTED
    DISCONNECTED CONNECT CONNECTED
    DISCONNECTED DRAIN DISCONNECTED
"""


def edges(text: str) -> dict[tuple[str, str], str]:
    """The edges of a drawn table."""
    return {(before, by): after for before, by, after in map(str.split, text.strip().splitlines())}


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("task_input", TaskInput)
def test_a_task_moves_along_the_drawn_edges_only(state: TaskState, task_input: TaskInput) -> None:
    after = edges(TASK_EDGES).get((state.name, task_input.name))
    if after is None:
        with pytest.raises(IllegalTransitionError, match=f"{state.name} has no edge {task_input.name}"):
            next_state(state, task_input)
    else:
        assert next_state(state, task_input) is TaskState[after]


@pytest.mark.parametrize("state", AgentState)
@pytest.mark.parametrize("agent_input", AgentInput)
def test_an_agent_moves_along_the_drawn_edges_only(state: AgentState, agent_input: AgentInput) -> None:
    after = edges(AGENT_EDGES).get((state.name, agent_input.name))
    if after is None:
        with pytest.raises(IllegalAgentInputError, match=f"{state.name} has no edge {agent_input.name}"):
            next_agent_state(state, agent_input)
    else:
        assert next_agent_state(state, agent_input) is AgentState[after]


def test_the_drawn_tables_are_the_tables() -> None:
    assert len(edges(TASK_EDGES)) == len(task_machine.NEXT)
    assert len(edges(AGENT_EDGES)) == len(agent_machine.NEXT)


def test_finished_are_the_states_without_a_way_out() -> None:
    assert TERMINAL == FINISHED
