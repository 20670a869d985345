"""Channels to servers: the options, the credentials, and who shares one.

One channel per address and credentials serves the whole process. A server takes
about a hundred streams on a connection, and the next one would wait in silence,
so further channels are opened beyond `STREAMS_MAX`. Everything here runs on the
I/O thread.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import grpc

STREAMS_MAX = 64
_YES = ("1", "true", "yes", "on")

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # Without it a stopped peer is noticed after 60 s and more.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.bdp_probe", 0),  # Else a slow reader swallows megabytes.
    # A step of a nested collaboration may have 6 MiB of input and context, and 4 MiB of output.
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 8 << 20),
    # The defaults grow to two minutes; leases outlive a broken stream by seconds.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # How long one attempt to connect may take.
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),  # Retrying is ours: it repeats the request_id.
)


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS: each a PEM file's path or its bytes.

    `ca` verifies the server (None: the system's roots). `certificate` and `key`
    identify the client, where the server asks for that. `server_name` is the
    name expected in the server's certificate, if it is not that of the address.
    """

    ca: str | Path | bytes | None = None
    certificate: str | Path | bytes | None = None
    key: str | Path | bytes | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files; raises OSError."""
        return grpc.ssl_channel_credentials(_pem(self.ca), _pem(self.key), _pem(self.certificate))


def _pem(source: str | Path | bytes | None) -> bytes | None:
    if source is None or isinstance(source, bytes):
        return source
    return Path(source).read_bytes()


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and how: what a channel is shared by."""

    address: str
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if not self.address or any(c.isspace() for c in self.address):
            raise ValueError(f"address {self.address!r}: HOST:PORT is expected")


def target_of(address: str, tls: Tls | bool | None) -> Target:
    """`tls=True` is TLS with the system's roots, False plain text.

    None is what the environment says: UPBEAT_TLS_CA names a file of authorities,
    UPBEAT_TLS=1 means the system's; without either it is plain text.
    """
    if tls is None:
        ca = os.environ.get("UPBEAT_TLS_CA")
        tls = Tls(ca=ca) if ca else os.environ.get("UPBEAT_TLS", "").lower() in _YES
    return Target(address, Tls() if tls is True else tls or None)


class SharedChannel:
    """One channel, and how many streams its users have or may open on it."""

    def __init__(self, target: Target, index: int) -> None:
        self.target = target
        self.streams = 0
        options: list[tuple[str, int | str]] = [*OPTIONS]
        # Channels with equal arguments would share one connection after all.
        options.append(("upbeat.channel", index))
        if target.tls is None:
            self.channel = grpc.aio.insecure_channel(target.address, options=options)
        else:
            if target.tls.server_name:
                options.append(("grpc.ssl_target_name_override", target.tls.server_name))
            self.channel = grpc.aio.secure_channel(target.address, target.tls.credentials(), options=options)


class Channels:
    """The open channels of the process."""

    def __init__(self) -> None:
        self._by_target: dict[Target, list[SharedChannel]] = {}
        self._opened_count = 0

    def acquire(self, target: Target, streams: int = 1) -> SharedChannel:
        """A channel with room for that many streams; give it back with `release`."""
        shared = next(
            (s for s in self._by_target.get(target, ()) if s.streams + streams <= STREAMS_MAX), None
        )
        if shared is None:
            shared = SharedChannel(target, self._opened_count)
            self._opened_count += 1
            self._by_target.setdefault(target, []).append(shared)
        shared.streams += streams
        return shared

    async def release(self, shared: SharedChannel, streams: int = 1) -> None:
        """Give it back; the last one closes the channel, and whatever still runs on it."""
        shared.streams -= streams
        if shared.streams > 0:
            return
        of_target = self._by_target.get(shared.target, [])
        if shared in of_target:
            of_target.remove(shared)
            if not of_target:
                del self._by_target[shared.target]
        await shared.channel.close()


CHANNELS = Channels()
"""The channels of this process; only the I/O thread touches them."""


def metadata_of(token: str | None) -> tuple[tuple[str, str], ...]:
    """What every call carries: the token given, else that of UPBEAT_TOKEN; "" is none."""
    if token is None:
        token = os.environ.get("UPBEAT_TOKEN")
    return (("authorization", f"Bearer {token}"),) if token else ()


def address_or_default(address: str | None) -> str:
    """The address given, else that of UPBEAT_SERVER, else the default of `upbeat serve`."""
    return address or os.environ.get("UPBEAT_SERVER") or "localhost:50051"


def namespace_or_default(namespace: str) -> str:
    """The namespace given, else that of UPBEAT_NAMESPACE; "" is the server's default."""
    return namespace or os.environ.get("UPBEAT_NAMESPACE", "")
