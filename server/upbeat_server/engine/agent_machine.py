"""The life of an agent as a table: ``(state, input) -> next state``; what is absent is illegal."""

from __future__ import annotations

from enum import IntEnum

from upbeat_server.engine.model import AgentState


class AgentInput(IntEnum):
    """What can happen to an agent."""

    CONNECT = 1  # It said hello.
    HEAR = 2  # A frame arrived.
    DRAIN = 3  # It, or an operator, wants nothing new for it.
    MISS = 4  # Silent for about two beats, or its stream ended without goodbye.
    LEAVE = 5  # Goodbye, or its grace is over.


_C, _S = AgentState.CONNECTED, AgentState.SUSPECT
_DR, _DI = AgentState.DRAINING, AgentState.DISCONNECTED

NEXT: dict[tuple[AgentState, AgentInput], AgentState] = {
    (_C, AgentInput.CONNECT): _C,
    (_C, AgentInput.HEAR): _C,
    (_C, AgentInput.DRAIN): _DR,
    (_C, AgentInput.MISS): _S,
    (_C, AgentInput.LEAVE): _DI,
    (_S, AgentInput.CONNECT): _C,
    (_S, AgentInput.HEAR): _C,
    (_S, AgentInput.DRAIN): _S,
    (_S, AgentInput.MISS): _S,
    (_S, AgentInput.LEAVE): _DI,
    (_DR, AgentInput.CONNECT): _C,
    (_DR, AgentInput.HEAR): _DR,
    (_DR, AgentInput.DRAIN): _DR,
    (_DR, AgentInput.MISS): _S,
    (_DR, AgentInput.LEAVE): _DI,
    (_DI, AgentInput.CONNECT): _C,
    (_DI, AgentInput.DRAIN): _DI,
}


class IllegalAgentInputError(Exception):
    """A defect of the engine: an input arrived in a state that has no such edge."""


def next_agent_state(state: AgentState, agent_input: AgentInput) -> AgentState:
    """The state after the input. Raises IllegalAgentInputError where the table has no edge."""
    after = NEXT.get((state, agent_input))
    if after is None:
        message = f"{state.name} has no edge {agent_input.name}"
        raise IllegalAgentInputError(message)
    return after
