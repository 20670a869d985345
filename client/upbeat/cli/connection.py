"""The way to the server: one channel, blocking calls, and failures in one form.

Blocking stubs, not the SDK's Client: a command is one call or one watch, it
starts faster without an event loop, and it shows what the contract answers
rather than what the SDK makes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub

from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.refusals import failure_of
from upbeat.v1.agent_service_pb2_grpc import AgentServiceStub
from upbeat.v1.collaboration_service_pb2_grpc import CollaborationServiceStub
from upbeat.v1.message_service_pb2_grpc import MessageServiceStub
from upbeat.v1.operations_service_pb2_grpc import OperationsServiceStub
from upbeat.v1.stats_service_pb2_grpc import StatsServiceStub
from upbeat.v1.task_service_pb2_grpc import TaskServiceStub

Response = TypeVar("Response")

CALL_TIMEOUT_S = 20.0
DEFAULT_PORT = 50051
_LOOPBACK = ("localhost", "127.", "[::1]", "::1")
_RETRY_WAITS_S = (0.2, 0.6)


@dataclass(frozen=True)
class Target:
    """Which server, as whom. ``tls_ca`` None with ``tls`` means the system's roots."""

    server: str
    namespace: str = ""
    token: str = ""
    tls: bool = False
    tls_ca: Path | None = None

    @property
    def address(self) -> str:
        """The address with its port; raises Failure for what is not one."""
        server = self.server.strip()
        if not server or "://" in server or any(character.isspace() for character in server):
            raise Failure(
                ExitCode.USAGE,
                f"{self.server!r} is not a server address",
                remedy="write HOST:PORT, such as localhost:50051",
            )
        host, colon, port = server.rpartition(":")
        if not colon or server.endswith("]"):
            return f"{server}:{DEFAULT_PORT}"
        if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65_536:
            raise Failure(
                ExitCode.USAGE,
                f"{self.server!r} has no valid port",
                remedy="write HOST:PORT, such as localhost:50051",
            )
        return server


class Connection:
    """Stubs over one channel, opened at the first call."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @cached_property
    def tasks(self) -> TaskServiceStub:
        """The task service."""
        return TaskServiceStub(self._channel)

    @cached_property
    def agents(self) -> AgentServiceStub:
        """The agent service."""
        return AgentServiceStub(self._channel)

    @cached_property
    def collaborations(self) -> CollaborationServiceStub:
        """The collaboration service."""
        return CollaborationServiceStub(self._channel)

    @cached_property
    def messages(self) -> MessageServiceStub:
        """The message service."""
        return MessageServiceStub(self._channel)

    @cached_property
    def operations(self) -> OperationsServiceStub:
        """The operations service."""
        return OperationsServiceStub(self._channel)

    @cached_property
    def stats(self) -> StatsServiceStub:
        """The stats service."""
        return StatsServiceStub(self._channel)

    @cached_property
    def health(self) -> HealthStub:
        """The standard health service."""
        return HealthStub(self._channel)

    def call(
        self, method: Callable[..., Response], request: Any, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> Response:
        """One unary call; raises Failure."""
        try:
            return method(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure_of(error, self.target.address) from None

    def call_again(self, method: Callable[..., Response], request: Any) -> Response:
        """A call that is safe to repeat, repeated shortly while the server cannot be reached."""
        for wait_s in _RETRY_WAITS_S:
            try:
                return self.call(method, request)
            except Failure as failure:
                if failure.code is not ExitCode.UNAVAILABLE:
                    raise
            time.sleep(wait_s)
        return self.call(method, request)

    def stream(self, method: Callable[..., Iterator[Response]], request: Any) -> Iterator[Response]:
        """The frames of a watch until either side ends it; raises Failure."""
        frames = method(request, metadata=self._metadata)
        try:
            yield from frames
        except grpc.RpcError as error:
            raise failure_of(error, self.target.address) from None
        finally:
            frames.cancel()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the channel, if one was opened."""
        channel = self.__dict__.get("_channel")
        if channel is not None:
            channel.close()

    @cached_property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self.target.token
        if not token:
            return ()
        if not (token.isascii() and token.isprintable()):
            raise Failure(ExitCode.USAGE, "the token holds characters that no token has")
        return (("authorization", f"Bearer {token}"),)

    @cached_property
    def _channel(self) -> grpc.Channel:
        address = self.target.address
        options: list[tuple[str, Any]] = [
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.primary_user_agent", "upbeat-cli"),
            # The defaults grow to two minutes: a watch would look at an empty screen long after a restart.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 5_000),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            # The defaults grow to two minutes: a watch would look at an empty screen long after a restart.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 5_000),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]
        if address.startswith(_LOOPBACK):
            options.append(("grpc.enable_http_proxy", 0))  # A proxy does not know this machine's loopback.
        if not (self.target.tls or self.target.tls_ca):
            return grpc.insecure_channel(address, options)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(self._roots()), options)

    def _roots(self) -> bytes | None:
        if self.target.tls_ca is None:
            return None
        try:
            return self.target.tls_ca.read_bytes()
        except OSError as error:
            raise Failure(
                ExitCode.USAGE, f"cannot read the CA file {self.target.tls_ca}: {error.strerror}"
            ) from None
