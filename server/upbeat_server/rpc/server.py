"""Builds the grpc server: its options, and generic handlers for every service.

The options are measured choices; what each prevents stands beside it. There is
one server for one engine, and one event loop that uses grpc in a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from upbeat_server.config import Connections
from upbeat_server.rpc.descriptors import connections_bound, descriptors_max
from upbeat_server.rpc.door import ANSWER_BYTES_MAX, MESSAGE_BYTES_MAX, Door, Method, Servicer
from upbeat_server.rpc.method import rpc_handler

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.so_reuseport", 0),  # Else a second server on the port silently takes half of the connections.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # Else a stopped peer is noticed after more than a minute.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", ANSWER_BYTES_MAX),
    ("grpc.max_metadata_size", 16 << 10),
    # It counts streams that have ended and are not freed yet, and refuses an ordinary client that has as many
    # calls under way as it may (UNAVAILABLE). What bounds resets is max_concurrent_streams.
    ("grpc.http.overload_protection", 0),
)


def connection_options(connections: Connections) -> list[tuple[str, int]]:
    """All options of a server."""
    options = [
        *SERVER_OPTIONS,
        (
            "grpc.max_allowed_incoming_connections",
            connections_bound(connections.connections_max, descriptors_max()),
        ),
        ("grpc.max_concurrent_streams", connections.streams_max),
        # grpc refuses calls at random between the two; its defaults (1,000 and 3,000) are less than a fleet
        # that comes back after a restart, and the callers get CANCELLED.
        ("grpc.server.max_pending_requests", connections.pending_calls_max),
        ("grpc.server.max_pending_requests_hard_limit", 2 * connections.pending_calls_max),
        ("grpc.server_handshake_timeout_ms", connections.handshake_ms),
    ]
    if connections.idle_ms:
        options.append(("grpc.max_connection_idle_ms", connections.idle_ms))
    if connections.age_ms:
        options.append(("grpc.max_connection_age_ms", connections.age_ms))
        options.append(("grpc.max_connection_age_grace_ms", connections.age_grace_ms))
    return options


def build_server(
    services: Sequence[Servicer],
    door: Door | None = None,
    options: Sequence[tuple[str, int]] = (),
    connections: Connections | None = None,
) -> grpc.aio.Server:
    """A server with these services; ports are added by the caller, before ``start``.

    Raises AttributeError or KeyError if a servicer lacks an RPC of its contract or its role.
    """
    chosen = connection_options(connections or Connections())
    server = grpc.aio.server(options=(*chosen, *options), compression=None)
    door = door or Door()
    for service in services:
        server.add_generic_rpc_handlers((_generic_handler(door, service),))
    return server


def _generic_handler(door: Door, service: Servicer) -> Any:
    descriptor = service.descriptor
    return grpc.method_handlers_generic_handler(
        descriptor.full_name,
        {method.name: rpc_handler(Method(door, service, method)) for method in descriptor.methods},
    )
