"""/metrics, /healthz and /readyz over a real port."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.types import Receive, Scope, Send

from tests.support.certificates import Authority, needs_openssl
from tests.support.http_call import get
from upbeat_server.config import Address, Tls
from upbeat_server.http.probes import probe_routes
from upbeat_server.http.server import HttpServer, PortUnavailable, bind
from upbeat_server.http.site import build_site
from upbeat_server.rpc.identity import Authenticator, OpenDoor
from upbeat_server.rpc.tls import Certificates
from upbeat_server.rpc.tokens import parse_tokens

TOKENS = json.dumps(
    [
        {"name": "scraper", "token": "token-of-the-scraper", "roles": ["viewer"], "namespaces": ["*"]},
        {"name": "narrow", "token": "token-of-one-namespace", "roles": ["viewer"]},
        {"name": "agent", "token": "token-of-an-agent", "roles": ["agent"], "namespaces": ["*"]},
    ]
)


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An API that no test here asks."""
    raise AssertionError(scope)


class Site:
    """A server with one metric, and why it is not ready."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.why: list[str] = []
        Counter("things", "Things.", registry=self.registry).inc(3)

    @asynccontextmanager
    async def served(
        self, authenticator: Authenticator | None = None, certificates: Certificates | None = None
    ) -> AsyncIterator[int]:
        app = build_site(nothing, probe_routes(self.registry, authenticator or OpenDoor(), lambda: self.why))
        server = HttpServer(app, Address("127.0.0.1", 0), certificates)
        server.start()
        try:
            yield server.port
        finally:
            await server.stop()


@pytest.fixture
def site() -> Site:
    return Site()


async def test_metrics_are_written_for_prometheus(site: Site) -> None:
    async with site.served() as port:
        answer = await get(port, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "things_total 3.0" in answer.body


async def test_metrics_are_written_as_openmetrics_where_that_is_asked_for(site: Site) -> None:
    async with site.served() as port:
        answer = await get(port, "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith("# EOF\n")


async def test_a_server_that_answers_is_alive(site: Site) -> None:
    site.why = ["draining"]
    async with site.served() as port:
        assert (await get(port, "/healthz")).status == 200


async def test_ready_says_why_not(site: Site) -> None:
    async with site.served() as port:
        ready = await get(port, "/readyz")
        site.why = ["draining", "store unavailable"]
        unready = await get(port, "/readyz")
    assert (ready.status, json.loads(ready.body)) == (200, {"ready": True, "reasons": []})
    assert unready.status == 503
    assert json.loads(unready.body)["reasons"] == ["draining", "store unavailable"]


@pytest.mark.parametrize(
    ("token", "status", "name"),
    [
        ("", 401, "UNAUTHENTICATED"),
        ("token-that-nobody-has", 401, "UNAUTHENTICATED"),
        ("token-of-one-namespace", 403, "PERMISSION_DENIED"),
        ("token-of-an-agent", 403, "PERMISSION_DENIED"),
        ("token-of-the-scraper", 200, ""),
    ],
)
async def test_where_there_are_tokens_metrics_need_one_for_all_namespaces(
    site: Site, token: str, status: int, name: str
) -> None:
    async with site.served(parse_tokens(TOKENS, "tokens")) as port:
        answer = await get(port, "/metrics", authorization=f"Bearer {token}" if token else "")
        assert (await get(port, "/readyz")).status == 200
    assert answer.status == status
    if name:
        assert json.loads(answer.body)["error"]["status"] == name


async def test_other_paths_are_not_there(site: Site) -> None:
    async with site.served() as port:
        answer = await get(port, "/etc/passwd")
    assert answer.status == 404
    assert json.loads(answer.body)["error"]["status"] == "NOT_FOUND"


async def test_a_defect_of_ours_has_the_shape_of_every_error() -> None:
    server = HttpServer(build_site(nothing, []), Address("127.0.0.1", 0), None)
    server.start()
    try:
        answer = await get(server.port, "/api/v1/anything")
    finally:
        await server.stop()
    assert answer.status == 500
    assert json.loads(answer.body)["error"]["status"] == "INTERNAL"


@needs_openssl
async def test_with_certificates_it_speaks_tls(site: Site, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    certificates = Certificates(Tls(cert_file=pair.cert, key_file=pair.key))
    trust = ssl.create_default_context(cafile=authority.cert)
    async with site.served(certificates=certificates) as port:
        assert (await get(port, "/healthz", tls=trust)).body == "ok\n"


def test_a_port_in_use_is_told_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match="in use"):
            bind(Address("127.0.0.1", port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_told_too(host: str) -> None:
    with pytest.raises(PortUnavailable, match=r"192\.0\.2\.1|no\.such\.host"):
        bind(Address(host, 0))


async def test_stopping_twice_is_stopping_once(site: Site) -> None:
    server = HttpServer(build_site(nothing, []), Address("127.0.0.1", 0), None)
    server.start()
    await server.stop()
    await server.stop()
