"""HTTP over TLS: REST, events and renewal, with the settings that grpc has too."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.server.http.site import API, running
from tests.support.certificates import Authority, Pair, install, needs_openssl
from tests.support.http_call import ask, get
from upbeat_server.config import Tls
from upbeat_server.rpc import tls

pytestmark = needs_openssl


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Pair:
    """The files that the server is told of."""
    pair = Pair(tmp_path / "served.pem", tmp_path / "served.key")
    install(authority.issue("first"), pair)
    return pair


async def test_the_api_is_called_by_who_trusts_the_authority(authority: Authority, pair: Pair) -> None:
    trust = ssl.create_default_context(cafile=authority.cert)
    async with running(tls=Tls(cert_file=pair.cert, key_file=pair.key)) as site:
        answer = await ask(site.port, "POST", f"{API}/tasks", {"spec": {"type": "echo"}}, trust)
        assert answer.tree["task"]["state"] == "STATE_QUEUED"
        assert (await get(site.port, "/", trust)).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(site.port, "/healthz", ssl.create_default_context())
        with pytest.raises((ConnectionResetError, EOFError)):
            await get(site.port, "/healthz")
        assert (await get(site.port, "/healthz", trust)).status == 200


async def test_a_renewed_certificate_is_shown_to_the_next_caller(
    authority: Authority, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "CHECK_INTERVAL_S", 0.0)
    (tmp_path / "renewed").mkdir()
    renewed = Authority(tmp_path / "renewed", "other")
    new_trust = ssl.create_default_context(cafile=renewed.cert)
    async with running(tls=Tls(cert_file=pair.cert, key_file=pair.key)) as site:
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(site.port, "/healthz", new_trust)
        install(renewed.issue("second"), pair)
        assert (await get(site.port, "/healthz", new_trust)).status == 200


async def test_where_callers_need_a_certificate_http_asks_for_it_too(
    authority: Authority, pair: Pair
) -> None:
    client = authority.issue("client")
    settings = Tls(cert_file=pair.cert, key_file=pair.key, client_ca_file=authority.cert)
    trust = ssl.create_default_context(cafile=authority.cert)
    async with running(tls=settings) as site:
        with pytest.raises((ssl.SSLError, ConnectionResetError, EOFError)):
            await get(site.port, "/healthz", trust)
        trust.load_cert_chain(client.cert, client.key)
        assert (await get(site.port, "/healthz", trust)).status == 200
