from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer

from tests.support.command_line import CommandLine
from upbeat.cli.connection import Target
from upbeat.cli.failure import Failure
from upbeat.cli.options import CommonOptions, Format, grouped


def run(arguments: list[str]) -> CommonOptions:
    seen: list[CommonOptions] = []
    app = typer.Typer()

    @app.command()
    @grouped
    def command(
        context: typer.Context,
        name: str,
        common: CommonOptions,
        loud: Annotated[bool, typer.Option()] = False,
    ) -> int:
        assert context.info_name
        assert name == "someone"
        assert loud
        seen.append(common)
        return 0

    app(arguments, standalone_mode=False)
    return seen[0]


def test_a_group_of_options_reaches_the_command_as_one_value() -> None:
    common = run(["someone", "--loud", "--server", "a:1", "-o", "json"])
    assert common == CommonOptions(server="a:1", output=Format.JSON)


def test_options_at_the_command_win_over_those_ahead_of_its_name() -> None:
    inner, outer = CommonOptions(server="inner:1"), CommonOptions(server="outer:1", token="t")
    assert inner.over(outer) == CommonOptions(server="inner:1", token="t")


def test_flags_win_over_the_environment_and_that_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CommonOptions().target == Target("localhost:50051")
    monkeypatch.setenv("UPBEAT_SERVER", "env:1")
    monkeypatch.setenv("UPBEAT_TOKEN", "secret")
    monkeypatch.setenv("UPBEAT_NAMESPACE", "n")
    monkeypatch.setenv("UPBEAT_TLS", "1")
    monkeypatch.setenv("UPBEAT_TLS_CA", "/ca.pem")
    assert CommonOptions().target == Target("env:1", "n", "secret", tls=True, tls_ca=Path("/ca.pem"))
    assert CommonOptions(server="flag:1", token="").target.server == "flag:1"
    assert CommonOptions(server="flag:1", token="").target.token == ""


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("host", "host:50051"),
        ("host:1", "host:1"),
        ("[::1]", "[::1]:50051"),
        ("[::1]:7", "[::1]:7"),
        (" h:1 ", "h:1"),
    ],
)
def test_an_address_has_a_port_by_default(server: str, address: str) -> None:
    assert Target(server).address == address


@pytest.mark.parametrize("server", ["", "http://x:1", "x:", "x:0", "x:65536", "x:y", ":1", "a b:1", "x:٣"])
def test_what_is_no_address_is_refused_before_anything_is_sent(server: str) -> None:
    with pytest.raises(Failure):
        assert Target(server).address


def test_a_ca_file_that_is_not_there_is_a_usage_failure(upbeat_command: CommandLine) -> None:
    outcome = upbeat_command("stats", "--tls-ca", "/nowhere/ca.pem")
    assert outcome.code == 2
    assert "cannot read the CA file" in outcome.err


def test_a_token_of_strange_characters_is_a_usage_failure(upbeat_command: CommandLine) -> None:
    assert upbeat_command("stats", "--token", "a\nb").code == 2
