"""A client's way to its server: its channel, its token, and unary calls that try again.

Every call of upbeat may be repeated (submissions carry a request_id), so an
UNAVAILABLE server is tried again with jitter until `patience_s` has passed.
Runs on the I/O thread.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from upbeat.backoff import Patience
from upbeat.channel import CHANNELS, SharedChannel, Target, metadata_of
from upbeat.duplex import is_cancelled
from upbeat.errors import ClientClosed, Refused
from upbeat.refusal import error_of_call
from upbeat.v1 import (
    agent_service_pb2_grpc,
    collaboration_service_pb2_grpc,
    message_service_pb2_grpc,
    stats_service_pb2_grpc,
    task_service_pb2_grpc,
)

if TYPE_CHECKING:
    from upbeat.v1.agent_service_pb2_grpc import AgentServiceAsyncStub
    from upbeat.v1.collaboration_service_pb2_grpc import CollaborationServiceAsyncStub
    from upbeat.v1.message_service_pb2_grpc import MessageServiceAsyncStub
    from upbeat.v1.stats_service_pb2_grpc import StatsServiceAsyncStub
    from upbeat.v1.task_service_pb2_grpc import TaskServiceAsyncStub

CALL_TIMEOUT_S = 30.0
LASTED_S = 10.0
"""A stream that lasted so long was connected, even if nothing came on it."""
CLIENT_STREAMS = 2  # Room on the channel for one StreamTasks and one WatchTasks.

_UNARY_AGAIN = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
_STREAM_AGAIN = frozenset(
    {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN", "ABORTED"}
)


def is_worth_reopening(error: Refused) -> bool:
    """Whether a stream that ended so may be opened again with a hope of better luck."""
    if error.code == "RESOURCE_EXHAUSTED":
        return error.retry_after is not None
    return error.code in _STREAM_AGAIN and error.reason != "FENCED"


class Connection:
    """What the parts of one client share."""

    def __init__(self, target: Target, token: str | None, namespace: str, patience_s: float) -> None:
        self.target = target
        self.namespace = namespace
        self.patience_s = patience_s
        self.metadata = metadata_of(token)
        self.is_closed = False
        self._shared: SharedChannel | None = None

    def check_open(self) -> None:
        """Raises ClientClosed if it is not."""
        if self.is_closed:
            raise ClientClosed("the client is closed")

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, opened with its first use; raises ClientClosed."""
        self.check_open()
        if self._shared is None:
            self._shared = CHANNELS.acquire(self.target, CLIENT_STREAMS)
        return self._shared.channel

    @property
    def tasks(self) -> TaskServiceAsyncStub:
        """TaskService."""
        return self.tasks_on(self.channel)

    @staticmethod
    def tasks_on(channel: grpc.aio.Channel) -> TaskServiceAsyncStub:
        """TaskService on another channel."""
        return task_service_pb2_grpc.TaskServiceStub(channel)

    @property
    def agents(self) -> AgentServiceAsyncStub:
        """AgentService."""
        return agent_service_pb2_grpc.AgentServiceStub(self.channel)

    @property
    def collaborations(self) -> CollaborationServiceAsyncStub:
        """CollaborationService."""
        return collaboration_service_pb2_grpc.CollaborationServiceStub(self.channel)

    @property
    def messages(self) -> MessageServiceAsyncStub:
        """MessageService."""
        return message_service_pb2_grpc.MessageServiceStub(self.channel)

    @property
    def stats(self) -> StatsServiceAsyncStub:
        """StatsService."""
        return stats_service_pb2_grpc.StatsServiceStub(self.channel)

    async def call(
        self, method: Any, request: Any, timeout_s: float = CALL_TIMEOUT_S, traceparent: str = ""
    ) -> Any:
        """One unary call, tried again while the server is unavailable; raises the typed error."""
        metadata = (*self.metadata, ("traceparent", traceparent)) if traceparent else self.metadata
        loop = asyncio.get_running_loop()
        patience = Patience(self.patience_s)
        while True:
            try:
                return await method(request, timeout=timeout_s, metadata=metadata)
            except grpc.aio.AioRpcError as failure:
                error = error_of_call(failure)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                raise ClientClosed("the client was closed before the server answered") from None
            delay_s = patience.next_s(loop.time(), error.retry_after)
            if error.code not in _UNARY_AGAIN or delay_s is None:
                raise error
            await asyncio.sleep(delay_s)

    async def close(self) -> None:
        """Give the channel back; calls that still run on it end if nobody else uses it."""
        self.is_closed = True
        shared, self._shared = self._shared, None
        if shared is not None:
            await CHANNELS.release(shared, CLIENT_STREAMS)
