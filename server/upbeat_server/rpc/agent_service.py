"""AgentService: where agents live, and how people look after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from upbeat.v1 import agent_pb2
from upbeat.v1 import agent_service_pb2 as pb
from upbeat_server.engine.model import AgentState
from upbeat_server.rpc.agent_attempts import fill_attempt, latest
from upbeat_server.rpc.agent_stream import AgentStream
from upbeat_server.rpc.convert import fill_agent
from upbeat_server.rpc.faults import Faults, is_agent, is_type
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.page_token import PageTokens, read_page_size
from upbeat_server.rpc.values import read_time
from upbeat_server.runtime.refused import Refused, invalid
from upbeat_server.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from upbeat_server.rpc.method import Call, Stream
    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.runtime.snapshot import AgentSnapshot

PAGE_DEFAULT = 100
PAGE_MAX = 1_000
WATCH_FRAME_MAX = 256
ATTEMPTS_DEFAULT = 1_000
ATTEMPTS_MAX = 10_000
ALL_AGENTS = "-"
ITEM_BYTES = 8
"""What a page or a frame adds to an agent."""


class AgentService:
    """Serves ``upbeat.v1.AgentService``."""

    descriptor = pb.DESCRIPTOR.services_by_name["AgentService"]
    roles: ClassVar[dict[str, Role | None]] = {
        "connect": Role.AGENT,
        "list_agents": Role.VIEWER,
        "get_agent": Role.VIEWER,
        "drain_agent": Role.ADMIN,
        "watch_agents": Role.VIEWER,
        "pause_type": Role.ADMIN,
        "resume_type": Role.ADMIN,
        "list_agent_attempts": Role.VIEWER,
    }

    def __init__(
        self, orchestrator: Orchestrator, server_version: str = "", recorder: Recorder | None = None
    ) -> None:
        self._orchestrator = orchestrator
        self._server_version = server_version
        self._recorder = recorder or Recorder()
        self._tokens = PageTokens(orchestrator.secret)
        self._page_bytes_max = orchestrator.bounds.payloads.page_bytes_max

    async def connect(self, stream: Stream) -> None:
        """The life of an agent."""
        await AgentStream(self._orchestrator, stream, self._server_version).run()

    async def list_agents(self, request: pb.ListAgentsRequest, call: Call) -> pb.ListAgentsResponse:
        """A page of agents, ordered by id."""
        namespace = call.namespace(request.namespace)
        size = read_page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        states = sorted(set(request.states))
        for state in states:
            if not AgentState.CONNECTED <= state <= AgentState.DISCONNECTED:
                raise invalid("states", f"{state} is no Agent.State")
        if request.capability and not is_type(request.capability):
            raise invalid("capability", "must be 1 to 128 characters of [A-Za-z0-9_.:/-]")
        listing = ("agents", namespace, ",".join(map(str, states)), request.capability)
        after = self._tokens.read(listing, request.page_token)
        found = self._orchestrator.agents(namespace, size + 1, after, states, request.capability)
        response = pb.ListAgentsResponse()
        size_bytes = 0
        for agent in found[:size]:
            added = response.agents.add()
            fill_agent(added, agent)
            size_bytes += added.ByteSize() + ITEM_BYTES
            if size_bytes > self._page_bytes_max and len(response.agents) > 1:
                del response.agents[-1]
                break
        if len(response.agents) < len(found):
            response.next_page_token = self._tokens.make(listing, response.agents[-1].agent_id)
        return response

    async def get_agent(self, request: pb.GetAgentRequest, call: Call) -> pb.GetAgentResponse:
        """One agent."""
        namespace = call.namespace(request.namespace)
        response = pb.GetAgentResponse()
        agent = self._orchestrator.agent(namespace, _agent_id(request.agent_id))
        fill_agent(response.agent, agent)
        return response

    async def drain_agent(self, request: pb.DrainAgentRequest, call: Call) -> pb.DrainAgentResponse:
        """Give an agent nothing new."""
        namespace = call.namespace(request.namespace)
        response = pb.DrainAgentResponse()
        agent = await self._orchestrator.drain_agent(namespace, _agent_id(request.agent_id))
        fill_agent(response.agent, agent)
        return response

    async def watch_agents(self, request: pb.WatchAgentsRequest, stream: Stream) -> None:
        """All agents, then each that changes."""
        namespace = stream.namespace(request.namespace)
        watch = await self._orchestrator.watch_agents(namespace)
        try:
            after = ""
            while True:
                agents = self._orchestrator.agents(namespace, WATCH_FRAME_MAX, after)
                is_last = len(agents) < WATCH_FRAME_MAX
                await self._send(stream, agents, is_last)
                if is_last:
                    break
                after = agents[-1].agent_id
            while True:
                await self._send(stream, await watch.take(WATCH_FRAME_MAX), False)
        except Refused as error:
            self._orchestrator.observer.stream_ended("watch", error.refusal.reason)
            raise
        finally:
            watch.close()

    async def pause_type(self, request: pb.PauseTypeRequest, call: Call) -> pb.PauseTypeResponse:
        """Hold back the tasks of a type."""
        namespace = call.namespace(request.namespace)
        paused = await self._orchestrator.pause_type(namespace, _type(request.type))
        return pb.PauseTypeResponse(paused_types=paused)

    async def resume_type(self, request: pb.ResumeTypeRequest, call: Call) -> pb.ResumeTypeResponse:
        """End a pause."""
        namespace = call.namespace(request.namespace)
        paused = await self._orchestrator.resume_type(namespace, _type(request.type))
        return pb.ResumeTypeResponse(paused_types=paused)

    async def list_agent_attempts(
        self, request: pb.ListAgentAttemptsRequest, call: Call
    ) -> pb.ListAgentAttemptsResponse:
        """What agents worked on lately, and now."""
        namespace = call.namespace(request.namespace)
        agent_id = "" if request.agent_id == ALL_AGENTS else _agent_id(request.agent_id)
        faults = Faults()
        from_ms = read_time(request.end_time_from, "end_time_from", faults)
        faults.raise_any()
        if request.limit < 0:
            raise invalid(
                "limit",
                f"{request.limit} is negative; 0 means {ATTEMPTS_DEFAULT:,}, the most is {ATTEMPTS_MAX:,}",
            )
        limit = read_page_size(request.limit, ATTEMPTS_DEFAULT, ATTEMPTS_MAX)
        running = self._orchestrator.running_attempts(namespace, agent_id)[:limit]
        ended = self._recorder.of(namespace).attempts if namespace in self._recorder.namespaces else ()
        response = pb.ListAgentAttemptsResponse()
        for entry in [*latest(ended, agent_id, from_ms, limit - len(running)), *running]:
            fill_attempt(response.attempts.add(), entry)
        return response

    async def _send(self, stream: Stream, agents: list[AgentSnapshot], snapshot_done: bool) -> None:
        """Send agents in frames that a caller can take; ``snapshot_done`` stands in the last one."""
        response = pb.WatchAgentsResponse()
        size_bytes = 0
        for agent in agents:
            message = agent_pb2.Agent()
            fill_agent(message, agent)
            size_bytes += message.ByteSize() + ITEM_BYTES
            if size_bytes > self._page_bytes_max and response.agents:
                await stream.write(response)
                response = pb.WatchAgentsResponse()
                size_bytes = message.ByteSize() + ITEM_BYTES
            response.agents.append(message)
        response.snapshot_done = snapshot_done
        await stream.write(response)


def _agent_id(text: str) -> str:
    if not is_agent(text):
        raise invalid("agent_id", "must be 1 to 128 characters of [A-Za-z0-9_.:/@-] without '..'")
    return text


def _type(text: str) -> str:
    if not is_type(text):
        words = (
            "must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or digit, without '..'"
        )
        raise invalid("type", words)
    return text
