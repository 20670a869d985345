"""Certificates: served, followed when they change, and never lost to a broken file."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.certificates import Authority, Pair, install, needs_openssl
from upbeat_server.config import Tls
from upbeat_server.rpc.server import build_server
from upbeat_server.rpc.tls import CertificateInvalid, Certificates

pytestmark = needs_openssl

PATIENCE_S = 20


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def served_pair(authority: Authority, tmp_path: Path) -> Pair:
    """The files that the server is told of."""
    issued = authority.issue("first")
    pair = Pair(tmp_path / "server.pem", tmp_path / "server.key")
    install(issued, pair)
    return pair


@asynccontextmanager
async def listening(certificates: Certificates) -> AsyncIterator[int]:
    """The port of a grpc server with these certificates."""
    server = build_server([])
    port = server.add_secure_port("127.0.0.1:0", certificates.credentials())
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def is_reachable(port: int, authority: Authority, client: Pair | None = None) -> bool:
    """Whether a client that trusts the authority gets through the handshake."""
    credentials = grpc.ssl_channel_credentials(
        authority.cert.read_bytes(),
        client.key.read_bytes() if client else None,
        client.cert.read_bytes() if client else None,
    )
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        call: Any = channel.unary_unary("/none.None/None")
        try:
            await call(b"", timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED
    return False


async def subject_at(port: int, authority: Authority) -> str:
    """The name in the certificate that the server shows."""
    context = ssl.create_default_context(cafile=authority.cert)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.wait_for(
        asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost"), PATIENCE_S
    )
    certificate = writer.get_extra_info("peercert")
    writer.transport.abort()
    return str(certificate["subject"][0][0][1])


async def test_a_client_that_trusts_the_authority_gets_through(
    authority: Authority, served_pair: Pair
) -> None:
    certificates = Certificates(Tls(cert_file=served_pair.cert, key_file=served_pair.key))
    async with listening(certificates) as port:
        assert await is_reachable(port, authority)


async def test_a_client_of_another_authority_does_not(
    authority: Authority, served_pair: Pair, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    certificates = Certificates(Tls(cert_file=served_pair.cert, key_file=served_pair.key))
    async with listening(certificates) as port:
        assert not await is_reachable(port, stranger)


async def test_with_a_client_authority_a_client_needs_a_certificate(
    authority: Authority, served_pair: Pair
) -> None:
    tls = Tls(cert_file=served_pair.cert, key_file=served_pair.key, client_ca_file=authority.cert)
    async with listening(Certificates(tls)) as port:
        assert not await is_reachable(port, authority)
        assert await is_reachable(port, authority, authority.issue("client"))


async def test_new_connections_get_the_new_certificate(authority: Authority, served_pair: Pair) -> None:
    certificates = Certificates(Tls(cert_file=served_pair.cert, key_file=served_pair.key))
    async with listening(certificates) as port:
        assert await subject_at(port, authority) == "first"
        install(authority.issue("second"), served_pair)
        certificates.reload()
        assert await subject_at(port, authority) == "second"


async def test_a_broken_file_keeps_the_certificate_before_it(authority: Authority, served_pair: Pair) -> None:
    certificates = Certificates(Tls(cert_file=served_pair.cert, key_file=served_pair.key))
    async with listening(certificates) as port:
        served_pair.cert.write_text("half a certi")
        certificates.reload()
        assert await subject_at(port, authority) == "first"


async def test_other_servers_follow_the_files_too(authority: Authority, served_pair: Pair) -> None:
    certificates = Certificates(Tls(cert_file=served_pair.cert, key_file=served_pair.key))

    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=certificates.ssl_context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await subject_at(port, authority) == "first"
        install(authority.issue("second"), served_pair)
        certificates.reload()
        assert await subject_at(port, authority) == "second"


def test_files_are_looked_at_once_a_second_and_only_read_when_they_changed(
    authority: Authority, served_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr("upbeat_server.rpc.tls.stopwatch_s", lambda: now_s[0])
    certificates = Certificates(Tls(cert_file=served_pair.cert, key_file=served_pair.key))
    install(authority.issue("second"), served_pair)
    first = certificates.current()
    assert certificates.current() is first
    now_s[0] = 1.0
    second = certificates.current()
    now_s[0] = 2.0
    assert second is not first
    assert certificates.current() is second


@pytest.mark.parametrize("broken", ["cert", "key", "client_ca"])
def test_files_that_cannot_be_used_at_the_start_are_named(
    authority: Authority, served_pair: Pair, tmp_path: Path, broken: str
) -> None:
    paths = {"cert": served_pair.cert, "key": served_pair.key, "client_ca": authority.cert}
    paths[broken] = tmp_path / "broken.pem"
    paths[broken].write_text("nothing")
    tls = Tls(cert_file=paths["cert"], key_file=paths["key"], client_ca_file=paths["client_ca"])
    with pytest.raises(CertificateInvalid, match=r"broken\.pem"):
        Certificates(tls)


def test_a_key_of_another_certificate_is_refused(authority: Authority, served_pair: Pair) -> None:
    other = authority.issue("other")
    with pytest.raises(CertificateInvalid, match="not a certificate and its key"):
        Certificates(Tls(cert_file=served_pair.cert, key_file=other.key))
