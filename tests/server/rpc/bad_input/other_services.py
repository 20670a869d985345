"""Health, channelz, and what is no service or method at all."""

from __future__ import annotations

from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2

from tests.server.rpc.bad_input.case import TASKS, Case, Code, case

HEALTH, CHANNELZ = "grpc.health.v1.Health/", "grpc.channelz.v1.Channelz/"
NUMBERS = (-1, 2**63 - 1, -(2**63))


def health(name: str, service: str) -> Case:
    request = health_pb2.HealthCheckRequest(service=service)
    return case(f"health of {name}", f"{HEALTH}Check", request, Code.NOT_FOUND)


CASES = [
    health("nobody", "nobody"),
    health("a line break", "a\nb\x1b[2J"),
    health("NUL", "\0"),
    health("60 KB", "😀" * 15_000),
    case(
        "health of 70 KB",
        f"{HEALTH}Check",
        health_pb2.HealthCheckRequest(service="x" * 70_000),
        Code.RESOURCE_EXHAUSTED,
        "MESSAGE_TOO_LARGE",
    ),
    *(
        case(f"{method} {number}", f"{CHANNELZ}{method}", request, Code.NOT_FOUND)
        for number in NUMBERS
        for method, request in (
            ("GetServer", channelz_pb2.GetServerRequest(server_id=number)),
            (
                "GetServerSockets",
                channelz_pb2.GetServerSocketsRequest(
                    server_id=number, start_socket_id=number, max_results=number
                ),
            ),
            ("GetChannel", channelz_pb2.GetChannelRequest(channel_id=number)),
            ("GetSubchannel", channelz_pb2.GetSubchannelRequest(subchannel_id=number)),
            ("GetSocket", channelz_pb2.GetSocketRequest(socket_id=number)),
        )
    ),
    *(
        case(f"no method {method[:32]!r}", method, b"", Code.UNIMPLEMENTED)
        for method in (
            f"{TASKS}Nothing",
            f"{TASKS}submit_task",
            "upbeat.v1.NoService/SubmitTask",
            "upbeat.v2.TaskService/SubmitTask",
            "x",
            "a/b/c/d",
            "/" * 200,
            "%00%0a",
            "..%2f..%2fetc/passwd",
            "x" * 4_000,
        )
    ),
]
