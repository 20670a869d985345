"""Settings: sources, ranges, unknown keys, and the rule of listening safely."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from upbeat_server.config import (
    Address,
    Auth,
    EngineSettings,
    Group,
    Listen,
    RuntimeSettings,
    Settings,
    SettingsInvalid,
    Tls,
    load,
)
from upbeat_server.engine.limits import Limits
from upbeat_server.runtime.bounds import RuntimeBounds

FIELDS_MAX = 8


def complaint(
    toml: str = "",
    environment: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
    folder: Path | None = None,
) -> str:
    """What is said of settings that cannot be used."""
    path = None
    if toml:
        assert folder is not None
        path = folder / "upbeat.toml"
        path.write_text(toml)
    with pytest.raises(SettingsInvalid) as caught:
        load(path, environment, flags)
    return str(caught.value)


def groups(group: type[Group]) -> list[type[Group]]:
    """A group and all below it."""
    inner = [field.annotation for field in group.model_fields.values()]
    below = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, Group)]
    return [group, *(deeper for kind in below for deeper in groups(kind))]


def test_the_defaults_listen_on_this_machine_only() -> None:
    settings = Settings()
    assert Address.parse(settings.listen.grpc).is_loopback
    assert Address.parse(settings.listen.http).is_loopback
    assert not settings.listen.insecure


def test_the_engine_gets_its_own_defaults() -> None:
    assert EngineSettings().limits() == Limits()


def test_the_runtime_gets_its_own_defaults() -> None:
    assert msgspec.convert(RuntimeSettings().model_dump(), RuntimeBounds) == RuntimeBounds()


def test_every_limit_of_engine_and_runtime_can_be_set() -> None:
    installed: dict[str, object] = {"modes": {}}  # No setting: what is installed is there.
    assert EngineSettings().model_dump() | installed == msgspec.to_builtins(Limits())
    assert RuntimeSettings().model_dump() == msgspec.to_builtins(RuntimeBounds())


@pytest.mark.parametrize("group", groups(Settings), ids=lambda group: group.__name__)
def test_a_group_is_small_and_frozen(group: type[Group]) -> None:
    assert len(group.model_fields) <= FIELDS_MAX
    assert group.model_config["frozen"]


def test_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "upbeat.toml"
    path.write_text(
        '[listen]\ngrpc = "127.0.0.1:1"\nhttp = "127.0.0.1:2"\n'
        '[log]\nlevel = "debug"\n[engine.bounds]\nagents_max = 5'
    )
    environment = {
        "UPBEAT_LISTEN__GRPC": "127.0.0.1:3",
        "UPBEAT_LOG__LEVEL": "error",
        "UPBEAT_TOKEN": "client's",
    }
    loaded = load(path, environment, {"listen.grpc": "127.0.0.1:4", "store.address": None})
    settings = loaded.settings
    assert settings.listen == Listen(grpc="127.0.0.1:4", http="127.0.0.1:2")
    assert settings.log.level == "error"
    assert settings.engine.limits().bounds.agents_max == 5
    sources = {key: source for key, _, source in loaded.describe()}
    assert sources["listen.grpc"] == "flag"
    assert sources["listen.http"] == str(path)
    assert sources["log.level"] == "UPBEAT_LOG__LEVEL"
    assert sources["store.address"] == "default"


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "upbeat.toml"
    path.write_text("[service]\nsample = true\n")
    assert load(None, {"UPBEAT_CONFIG": str(path)}).settings.service.sample


def test_the_environment_is_text_and_is_read_as_what_is_wanted() -> None:
    environment = {
        "UPBEAT_LISTEN__INSECURE": "true",
        "UPBEAT_ENGINE__BOUNDS__AGENTS_MAX": "7",
        "UPBEAT_RUNTIME__LOOP__TURN_BUDGET_MS": "1.5",
        "UPBEAT_TLS__CERT_FILE": "a.pem",
        "UPBEAT_TLS__KEY_FILE": "a.key",
    }
    settings = load(None, environment).settings
    assert settings.listen.insecure
    assert settings.engine.bounds.agents_max == 7
    assert settings.runtime.loop.turn_budget_ms == 1.5
    assert settings.tls.cert_file == Path("a.pem")


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[listen]\ngrcp = "x"', ["listen.grcp", "no such setting", "upbeat.toml"]),
        ("[nonsense]\na = 1", ["nonsense", "no such setting", "upbeat.toml"]),
        ("[engine.bounds]\nagents_max = 0", ["engine.bounds.agents_max", "greater than or equal to 1"]),
        ("[engine.bounds]\nagents_max = 'many'", ["engine.bounds.agents_max", "integer"]),
        ("[engine.graces]\nsuspect_after_ms = 5", ["engine.graces", "heartbeat_interval_ms"]),
        ('[log]\nlevel = "loud"', ["log.level", "'debug'"]),
        ('[listen]\ngrpc = "50051"', ["listen.grpc", "not HOST:PORT", "127.0.0.1:50051"]),
        ('[listen]\ngrpc = ""', ["listen.grpc", "not HOST:PORT"]),
        ('[listen]\nhttp = "localhost:99999"', ["listen.http", "not HOST:PORT"]),
        ('[tls]\ncert_file = "a"', ["tls", "belong together"]),
        ('[tls]\nclient_ca_file = "a"', ["tls", "needs cert_file"]),
        ('[auth]\ntokens_file = "a"\ntokens = "[]"', ["auth", "exclude each other"]),
        ("listen = 5", ["listen", "upbeat.toml"]),
        ("[listen", ["not TOML"]),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_its_limit(
    tmp_path: Path, toml: str, words: list[str]
) -> None:
    said = complaint(toml, folder=tmp_path)
    for word in words:
        assert word in said


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = complaint("[log]\nlevel = 'x'\n[service]\ndrain_ms = -1\nnope = 1", folder=tmp_path)
    assert said.count("\n") == 2


def test_a_variable_that_nobody_knows_is_an_error() -> None:
    said = complaint(environment={"UPBEAT_LISTEN__GRCP": "x"})
    assert "UPBEAT_LISTEN__GRCP" in said


@pytest.mark.parametrize("order", [("LISTEN__GRPC", "LISTEN__GRPC__X"), ("LISTEN__GRPC__X", "LISTEN__GRPC")])
def test_a_name_is_a_group_or_a_value(order: tuple[str, str]) -> None:
    assert "not a" in complaint(environment={f"UPBEAT_{name}": "127.0.0.1:1" for name in order})


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load(tmp_path / "nothing.toml")


def test_secrets_are_not_shown() -> None:
    loaded = load(None, {"UPBEAT_AUTH__TOKENS": '[{"token": "very-secret-token"}]'})
    assert "very-secret-token" not in str(loaded.describe())
    assert "very-secret-token" not in repr(loaded)


def test_a_secret_is_not_in_an_error_either() -> None:
    said = complaint(
        environment={"UPBEAT_AUTH__TOKENS": "very-secret-token", "UPBEAT_AUTH__TOKENS_FILE": "a"}
    )
    assert "very-secret-token" not in said


@pytest.mark.parametrize("address", ["0.0.0.0:50051", "[::]:50051", "10.0.0.1:50051", "example.com:1"])
@pytest.mark.parametrize("key", ["listen.grpc", "listen.http"])
def test_beyond_this_machine_it_needs_tls_and_tokens_or_to_be_asked_for(address: str, key: str) -> None:
    flags: dict[str, object] = {key: address}
    said = complaint(flags=flags)
    assert key in said
    assert "--insecure" in said
    assert "no TLS" in complaint(flags=flags | {"auth.tokens_file": "t"})
    assert "no tokens" in complaint(flags=flags | {"tls.cert_file": "c", "tls.key_file": "k"})
    load(flags=flags | {"auth.tokens_file": "t", "tls.cert_file": "c", "tls.key_file": "k"})
    load(flags=flags | {"listen.insecure": True})


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0", "127.9.9.9:0"])
def test_this_machine_needs_nothing(address: str) -> None:
    load(flags={"listen.grpc": address})


def test_an_address_is_written_as_it_is_read() -> None:
    assert str(Address.parse("[::1]:50051")) == "[::1]:50051"
    assert str(Address.parse("127.0.0.1:0")) == "127.0.0.1:0"


def test_groups_know_whether_they_are_in_use() -> None:
    assert not Tls().enabled
    assert not Auth().enabled
    assert Auth(tokens_file=Path("t")).enabled
