"""The services behind a real port, and agents that talk to them over the wire."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from tests.support.hand_clock import HandClock
from tests.support.runtime import PATIENCE_S
from upbeat.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    collaboration_service_pb2_grpc,
    message_service_pb2_grpc,
    operations_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)
from upbeat_server.rpc.agent_service import AgentService
from upbeat_server.rpc.collaboration_service import CollaborationService
from upbeat_server.rpc.message_service import MessageService
from upbeat_server.rpc.operations_service import OperationsService
from upbeat_server.rpc.server import build_server
from upbeat_server.rpc.task_service import TaskService
from upbeat_server.runtime.orchestrator import Orchestrator
from upbeat_server.store.memory import MemoryStore
from upbeat_server.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upbeat_server.engine.limits import Limits
    from upbeat_server.runtime.bounds import RuntimeBounds

_raw = (lambda message: message, lambda message: message)


class Served:
    """A server and a caller."""

    def __init__(self, orchestrator: Orchestrator, channel: grpc.aio.Channel, clock: HandClock) -> None:
        self.orchestrator = orchestrator
        self.channel = channel
        self.clock = clock
        self.tasks: Any = task_service_pb2_grpc.TaskServiceStub(channel)
        self.agents: Any = agent_service_pb2_grpc.AgentServiceStub(channel)
        self.collaborations: Any = collaboration_service_pb2_grpc.CollaborationServiceStub(channel)
        self.operations: Any = operations_service_pb2_grpc.OperationsServiceStub(channel)
        self.messages: Any = message_service_pb2_grpc.MessageServiceStub(channel)

    async def submit(self, task_type: str = "echo", **fields: Any) -> task_service_pb2.SubmitTaskResponse:
        """Submit one task."""
        request_id = fields.pop("request_id", "")
        spec: Any = {"type": task_type, **fields}
        answer: task_service_pb2.SubmitTaskResponse = await self.tasks.SubmitTask(
            task_service_pb2.SubmitTaskRequest(spec=spec, request_id=request_id), timeout=PATIENCE_S
        )
        return answer

    async def get(self, task_id: str, wait_s: int = 0) -> Any:
        """One task."""
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        request.wait.seconds = wait_s
        return (await self.tasks.GetTask(request, timeout=PATIENCE_S)).task

    async def raw_unary(self, method: str, data: bytes) -> bytes:
        """Call a unary method with bytes that no stub would make."""
        call = self.channel.unary_unary(f"/upbeat.v1.{method}", *_raw)
        answer: bytes = await call(data, timeout=PATIENCE_S)
        return answer

    def raw_stream(self, method: str) -> Any:
        """Open a stream of bytes."""
        return self.channel.stream_stream(f"/upbeat.v1.{method}", *_raw)(timeout=PATIENCE_S)


class WireAgent:
    """An agent on a real stream, frame by frame."""

    def __init__(self, served: Served, agent_id: str = "worker", **hello: Any) -> None:
        self.stream = served.agents.Connect(timeout=60)
        self._hello = {"agent_id": agent_id, "capabilities": ["echo"], "slots": 1, **hello}

    async def connect(self) -> WireAgent:
        """Say hello."""
        await self.say(hello=self._hello)
        self.frame = await self.hear()
        assert self.frame.HasField("welcome"), self.frame
        return self

    async def say(self, **fields: Any) -> None:
        """Send a frame."""
        await self.stream.write(agent_service_pb2.ConnectRequest(**fields))

    async def hear(self) -> Any:
        """The next frame."""
        async with asyncio.timeout(PATIENCE_S):
            frame = await self.stream.read()
        assert frame is not grpc.aio.EOF
        return frame

    async def assignment(self) -> Any:
        """The next assignment."""
        frame = self.frame
        while not frame.assignments:
            frame = await self.hear()
        self.frame = agent_service_pb2.ConnectResponse()
        return frame.assignments[0]

    async def finish(self, lease_id: str, data: bytes = b"done") -> Any:
        """Report a result and answer its acknowledgement."""
        await self.say(
            attempt_acks=[{"lease_id": lease_id, "accepted": True}],
            results=[{"lease_id": lease_id, "output": {"data": data}}],
        )
        while not (frame := await self.hear()).result_acks:
            pass
        self.frame = frame
        return frame.result_acks[0]


@asynccontextmanager
async def served(
    store: Any = None, limits: Limits | None = None, bounds: RuntimeBounds | None = None
) -> AsyncIterator[Served]:
    """A server on a free port."""
    clock = HandClock()
    recorder = Recorder()
    orchestrator = Orchestrator(store or MemoryStore(), clock, limits, bounds, recorder)
    await orchestrator.start()
    server = build_server(
        [
            TaskService(orchestrator),
            AgentService(orchestrator, "upbeat test", recorder),
            CollaborationService(orchestrator),
            MessageService(orchestrator),
            OperationsService(orchestrator),
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(orchestrator, channel, clock)
    finally:
        await orchestrator.stop()
        await server.stop(0)


class Told:
    """What a status says: code, reason, fields at fault, metadata, whether to try again."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.message = error.details() or ""
        self.reason = ""
        self.domain = ""
        self.metadata: dict[str, str] = {}
        self.fields: list[str] = []
        self.has_retry = False
        trailers = dict(error.trailing_metadata() or ())
        data = trailers.get("grpc-status-details-bin")
        if not isinstance(data, bytes):
            return
        for detail in status_pb2.Status.FromString(data).details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                self.reason, self.domain = info.reason, info.domain
                self.metadata = dict(info.metadata)
            elif detail.Unpack(bad):
                self.fields = [violation.field for violation in bad.field_violations]
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                self.has_retry = True


async def told_by(call: Any) -> Told:
    """What a call or a read is refused with."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await call
    except grpc.aio.AioRpcError as error:
        return Told(error)
    raise AssertionError(f"was answered: {answer}")


async def end_of(stream: Any) -> Told:
    """What a stream is ended with, after whatever it still sends."""

    async def read_all() -> None:
        while await stream.read() is not grpc.aio.EOF:
            pass

    return await told_by(read_all())
