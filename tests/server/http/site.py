"""A whole server with its HTTP port, and an agent on the other one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from tests.support.http_call import Answer, Events, ask, listening
from upbeat.v1.agent_service_pb2_grpc import AgentServiceStub
from upbeat.v1.message_service_pb2_grpc import MessageServiceStub
from upbeat.v1.task_service_pb2_grpc import TaskServiceStub
from upbeat_server.app import App
from upbeat_server.config import Listen, ServiceSettings, Settings, StoreSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

API = "/api/v1/orchestration"


class Site:
    """A server that runs; paths are below the API, unless they begin with a slash."""

    def __init__(self, app: App, channel: grpc.aio.Channel) -> None:
        self.app = app
        self.port = app.http_port
        self.tasks: Any = TaskServiceStub(channel)
        self.agents: Any = AgentServiceStub(channel)
        self.messages: Any = MessageServiceStub(channel)

    async def ask(self, verb: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request."""
        return await ask(self.port, verb, _whole(path), body, None, **headers)

    async def told(self, verb: str, path: str, body: Any = None, **headers: str) -> Any:
        """What a request that goes well is answered with."""
        answer = await self.ask(verb, path, body, **headers)
        assert answer.status == 200, answer
        return answer.tree

    async def refused(self, verb: str, path: str, body: Any = None, **headers: str) -> Any:
        """The error that a request is answered with; its HTTP code is that of the answer."""
        answer = await self.ask(verb, path, body, **headers)
        error = answer.tree["error"]
        assert error["code"] == answer.status
        assert error.keys() == {"code", "status", "message", "details"}
        return error

    def listening(self, path: str, **headers: str) -> AbstractAsyncContextManager[Events]:
        """Open a stream of events."""
        return listening(self.port, _whole(path), **headers)

    async def submit(self, task_type: str = "echo", **spec: Any) -> str:
        """Submit a task; its id."""
        answer = await self.told("POST", "tasks", {"spec": {"type": task_type, **spec}})
        task_id: str = answer["task"]["taskId"]
        return task_id


@asynccontextmanager
async def running(**groups: Any) -> AsyncIterator[Site]:
    """A server on free ports with a store in memory."""
    settings = {
        "listen": Listen(grpc="127.0.0.1:0", http="127.0.0.1:0"),
        "store": StoreSettings(address="memory"),
        "service": ServiceSettings(drain_ms=0, sample=True),
    }
    app = App(Settings(**(settings | groups)))
    await app.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}") as channel:
            yield Site(app, channel)
    finally:
        await app.stop()


def reason_of(error: Any) -> str:
    """The reason in the details of an error."""
    return next((detail["reason"] for detail in error["details"] if "reason" in detail), "")


def fields_of(error: Any) -> list[str]:
    """The bad fields in the details of an error."""
    return [bad["field"] for detail in error["details"] for bad in detail.get("fieldViolations", ())]


def _whole(path: str) -> str:
    return path if path.startswith("/") else f"{API}/{path}"
