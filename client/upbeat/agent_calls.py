"""What `Client` can ask about agents, and about which work they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upbeat.io_thread import io_thread
from upbeat.skill import Kind, as_kind
from upbeat.v1 import agent_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upbeat.core import Core
    from upbeat.v1 import agent_pb2

PAGE_SIZE = 500


class AgentCalls:
    """List and drain agents; pause and resume types of work."""

    _core: Core

    async def agents(self, *, capability: str = "") -> AsyncIterator[agent_pb2.Agent]:
        """The agents of the namespace, ordered by id: `async for agent in up.agents()`."""
        request = agent_service_pb2.ListAgentsRequest(capability=capability, page_size=PAGE_SIZE)
        while True:
            page = await io_thread().call(self._core.agents("ListAgents", request))
            for agent in page.agents:
                yield agent
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def drain_agent(self, agent_id: str) -> agent_pb2.Agent:
        """Give an agent nothing new; what it has it finishes. Raises AgentNotFound."""
        request = agent_service_pb2.DrainAgentRequest(agent_id=agent_id)
        response = await io_thread().call(self._core.agents("DrainAgent", request))
        agent: agent_pb2.Agent = response.agent
        return agent

    async def pause_type(self, skill: Kind[Any, Any] | str) -> tuple[str, ...]:
        """Hand out no task of a type until `resume_type`, over restarts, too; what runs goes on.

        Answers all types that are paused then. Raises InvalidField, PermissionDenied, ResourceExhausted.
        """
        request = agent_service_pb2.PauseTypeRequest(type=as_kind(skill).spec().type)
        return tuple((await io_thread().call(self._core.agents("PauseType", request))).paused_types)

    async def resume_type(self, skill: Kind[Any, Any] | str) -> tuple[str, ...]:
        """End a pause; answers the types that are paused still. One that is not paused is fine."""
        request = agent_service_pb2.ResumeTypeRequest(type=as_kind(skill).spec().type)
        return tuple((await io_thread().call(self._core.agents("ResumeType", request))).paused_types)
