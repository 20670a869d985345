"""Servers by name: the file, the commands, and who wins over whom."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from upbeat.cli.connection import Target
from upbeat.cli.failure import Failure
from upbeat.cli.options import CommonOptions
from upbeat.cli.profile_file import Profile, profiles_path, read_profiles

PROD = """
profile = "prod"

[profiles.prod]
server = "prod:1"
namespace = "p"
token_env = "PROD_TOKEN"
tls = true

[profiles.dev]
server = "dev:2"
"""


@pytest.fixture
def written(profiles_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    profiles_file.parent.mkdir()
    profiles_file.write_text(PROD)
    monkeypatch.setenv("PROD_TOKEN", "secret")
    for name in ("SERVER", "NAMESPACE", "TOKEN", "TLS", "TLS_CA"):
        monkeypatch.delenv(f"UPBEAT_{name}", raising=False)
    return profiles_file


def test_a_life_of_a_profile(upbeat_command: CommandLine, profiles_file: Path) -> None:
    added = upbeat_command("profile", "add", "prod", "--server", "host", "--token", "a-token", "--tls")
    assert added.code == 0
    assert "host:50051" in added.out
    assert "a-token" not in added.out
    assert stat.S_IMODE(profiles_file.stat().st_mode) == 0o600
    again = upbeat_command("profile", "add", "prod", "--server", "other")
    assert (again.code, "--replace" in again.err) == (4, True)
    upbeat_command("profile", "add", "b.c", "--server", "other:1", "--token-env", "T", "--use")
    assert upbeat_command("profile", "use", "prod").out == "using prod\n"
    assert upbeat_command("profile", "list").rows[1:] == [
        ["b.c", "other:1", "default", "no", "$T"],
        ["*", "prod", "host:50051", "default", "yes", "stored"],
    ]
    listed = upbeat_command("profile", "list", "-o", "json").document
    assert listed["current"] == "prod"
    assert listed["profiles"][1] == {
        "name": "prod",
        "server": "host:50051",
        "namespace": "",
        "token": True,
        "token_file": "",
        "token_env": "",
        "tls": True,
        "tls_ca": "",
    }
    assert upbeat_command("profile", "show", "-o", "json").document == listed["profiles"][1]
    assert upbeat_command("profile", "remove", "prod").code == 0
    assert read_profiles().by_name == {"b.c": Profile("other:1", token_env="T")}
    assert upbeat_command("profile", "show").code == 2
    assert upbeat_command("profile", "use", "--none", "-o", "json").document == {"current": ""}
    for arguments in (("use",), ("use", "b.c", "--none"), ("remove", "prod"), ("add", "x"), ("add", "a/b")):
        assert upbeat_command("profile", *arguments).code == 2, arguments


def test_a_profile_is_used_where_nothing_else_is_said(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prod = Target("prod:1", "p", "secret", tls=True)
    assert CommonOptions().target == prod
    monkeypatch.setenv("UPBEAT_NAMESPACE", "env")
    monkeypatch.setenv("UPBEAT_TLS", "0")
    assert CommonOptions(token="flag").target == Target("prod:1", "env", "flag")
    monkeypatch.setenv("UPBEAT_PROFILE", "dev")
    assert CommonOptions().target == Target("dev:2", "env")


def test_the_token_of_a_profile_is_for_its_own_server(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CommonOptions(server="other:1").target == Target("other:1")
    monkeypatch.setenv("UPBEAT_SERVER", "env:1")
    assert CommonOptions().target == Target("env:1")


def test_a_profile_that_a_flag_names_is_taken_whole_and_other_flags_win(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SERVER", "env:1"), ("TOKEN", "env"), ("NAMESPACE", "env"), ("TLS", "1")):
        monkeypatch.setenv(f"UPBEAT_{name}", value)
    assert CommonOptions(profile="dev").target == Target("dev:2")
    chosen = CommonOptions(profile="prod", server="copy:1", namespace="n").target
    assert chosen == Target("copy:1", "n", "secret", tls=True)


def test_a_token_is_read_from_its_file(written: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from the file\n")
    assert Profile("s", token_file=str(tmp_path / "token")).read_token() == "from the file"
    with pytest.raises(Failure, match="cannot read the token"):
        Profile("s", token_file=str(tmp_path / "none")).read_token()


def test_a_variable_that_is_not_set_is_told(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROD_TOKEN")
    with pytest.raises(Failure, match="PROD_TOKEN, which is not set"):
        _ = CommonOptions().target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 1", "port: there is no such key"),
        ("profile = 1", "profile: a text is expected"),
        ('profile = "x"', "there is no such profile"),
        ("profiles = 1", "profiles: a table is expected"),
        ("[profiles]\nx = 1", "profiles.x: a table under a name"),
        ('[profiles."a b"]\nserver = "s"', "profiles.a b: a table under a name"),
        ("[profiles.x]\nnamespace = 'n'", "profiles.x: server is missing"),
        ("[profiles.x]\nserver = 's'\ntls = 'yes'", "profiles.x.tls: true or false is expected"),
        ("[profiles.x]\nserver = 's'\nport = 1", "profiles.x.port: there is no such key"),
        ("[profiles.x]\nserver = 's'\ntoken_env = 'A'\ntoken_file = 'b'", "exclude each other"),
        ("[profiles.x]\nserver = 's'\ntoken = 'secret'", "chmod 600"),
        ("[profiles", "is not TOML"),
    ],
)
def test_what_is_wrong_with_the_file_is_told(
    profiles_file: Path, upbeat_command: CommandLine, text: str, words: str
) -> None:
    profiles_file.parent.mkdir()
    profiles_file.write_text(text)
    profiles_file.chmod(0o644)
    told = upbeat_command("profile", "list")
    assert told.code == 2
    assert words in told.err
    assert "secret" not in told.err


def test_the_file_is_where_the_standard_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPBEAT_CLI_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    assert profiles_path() == Path("/conf/upbeat/config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "not/absolute")
    assert profiles_path() == Path("~/.config/upbeat/config.toml").expanduser()


def test_a_command_talks_to_the_server_of_the_profile(upbeat_command: CommandLine, address: str) -> None:
    upbeat_command("profile", "add", "here", "--server", address)
    assert upbeat_command("--profile", "here", "health").code == 0
    assert upbeat_command("health", "--profile", "nowhere").code == 2
