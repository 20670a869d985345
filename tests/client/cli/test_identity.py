"""The command line against a server that asks who calls, over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, needs_openssl
from tests.support.command_line import CommandLine
from upbeat.io_thread import io_thread
from upbeat_server.app import App
from upbeat_server.config import Auth, Listen, ServiceSettings, Settings, StoreSettings, Tls

pytestmark = needs_openssl

VIEWER = "a-token-that-may-look-only"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def guarded(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with TLS and one token."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    tokens.write_text(
        f'[[tokens]]\nname = "v"\ntoken = "{VIEWER}"\nroles = ["viewer"]\nnamespaces = ["default"]\n'
    )
    tokens.chmod(0o600)
    pair = authority.issue("server")
    app = App(
        Settings(
            listen=Listen(grpc="127.0.0.1:0", http=""),
            store=StoreSettings(address="memory"),
            service=ServiceSettings(drain_ms=0),
            tls=Tls(cert_file=pair.cert, key_file=pair.key),
            auth=Auth(tokens_file=tokens),
        )
    )
    io_thread().start_call(app.start()).result()
    yield f"localhost:{app.grpc_port}"
    io_thread().start_call(app.stop()).result()


def test_with_the_authority_and_a_token_it_answers(
    upbeat_command: CommandLine, guarded: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPBEAT_TOKEN", VIEWER)
    assert upbeat_command("stats", "--server", guarded, "--tls-ca", str(authority.cert)).code == 0


def test_without_a_token_or_the_role_it_is_denied(
    upbeat_command: CommandLine, guarded: str, authority: Authority
) -> None:
    where = ("--server", guarded, "--tls-ca", str(authority.cert))
    nobody = upbeat_command("tasks", "list", *where)
    assert nobody.code == 6
    assert "UPBEAT_TOKEN" in nobody.err
    viewer = upbeat_command("tasks", "submit", "x", "--token", VIEWER, *where)
    assert viewer.code == 6
    assert "ROLE_INSUFFICIENT" in viewer.err
    assert VIEWER not in viewer.err


def test_without_tls_or_with_another_authority_it_is_unavailable(
    upbeat_command: CommandLine, guarded: str, tmp_path: Path
) -> None:
    plain = upbeat_command("stats", "--server", guarded)
    assert plain.code == 5
    assert "--tls" in plain.err
    stranger = upbeat_command("stats", "--server", guarded, "--tls-ca", str(Authority(tmp_path).cert))
    assert stranger.code == 5
