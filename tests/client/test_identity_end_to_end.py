"""TLS and tokens, from the SDK to the real server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority, Pair, needs_openssl
from upbeat import Agent, Client, PermissionDenied, Tls, Unauthenticated, Unavailable
from upbeat.io_thread import io_thread
from upbeat_server.app import App
from upbeat_server.config import Auth, Listen, Settings
from upbeat_server.config import Tls as ServerTls

pytestmark = needs_openssl

TOKENS: list[dict[str, Any]] = [
    {
        "token": "caller-caller-caller-caller-0001",
        "name": "caller",
        "roles": ["submitter"],
        "namespaces": ["team"],
    },
    {
        "token": "worker-worker-worker-worker-0001",
        "name": "worker",
        "roles": ["agent"],
        "namespaces": ["team"],
    },
]
CALLER, WORKER = (str(entry["token"]) for entry in TOKENS)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def caller_pair(authority: Authority) -> Pair:
    return authority.issue("caller")


@pytest.fixture
async def address(authority: Authority) -> AsyncIterator[str]:
    pair = authority.issue("server")
    settings = Settings(
        listen=Listen(grpc="127.0.0.1:0", http=""),
        tls=ServerTls(cert_file=pair.cert, key_file=pair.key, client_ca_file=authority.cert),
        auth=Auth(tokens=json.dumps({"tokens": TOKENS})),  # type: ignore[arg-type]
        store={"address": "memory"},  # type: ignore[arg-type]
    )

    async def start() -> App:
        app = App(settings)
        await app.start()
        return app

    app = await io_thread().call(start())
    app.hurry()
    yield f"127.0.0.1:{app.grpc_port}"
    await io_thread().call(app.stop())


async def test_work_is_done_with_certificates_and_tokens(
    address: str, authority: Authority, caller_pair: Pair
) -> None:
    tls = Tls(ca=authority.cert, certificate=caller_pair.cert, key=caller_pair.key.read_bytes())
    agent = Agent("w", token=WORKER, tls=tls, namespace="team")

    @agent.on("double")
    async def double(n: Any) -> Any:
        return 2 * n

    await agent.start(address)
    async with Client(address, token=CALLER, tls=tls, namespace="team") as up:
        assert await up.run("double", 21) == 42
    await agent.stop()


async def test_who_is_not_known_or_not_allowed_is_told(
    address: str, authority: Authority, caller_pair: Pair
) -> None:
    tls = Tls(ca=authority.cert, certificate=caller_pair.cert, key=caller_pair.key)
    async with Client(address, token="wrong", tls=tls, namespace="team") as up:
        with pytest.raises(Unauthenticated):
            await up.run("double", 1)
    async with Client(address, token=CALLER, tls=tls, namespace="other") as up:
        with pytest.raises(PermissionDenied):
            await up.run("double", 1)
        with pytest.raises(PermissionDenied):
            await up.get("0000000000000001")
    agent = Agent("w", token=CALLER, tls=tls, namespace="team")
    agent.on("double")(lambda n: n)
    with pytest.raises(PermissionDenied):
        await agent.serve(address)


async def test_a_server_that_cannot_prove_itself_is_not_talked_to(address: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    async with Client(address, token=CALLER, tls=Tls(ca=stranger.cert), patience=0) as up:
        with pytest.raises(Unavailable):
            await up.get("0000000000000001")
