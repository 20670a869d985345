"""Where to connect and as whom: what is given, else what the environment says."""

from __future__ import annotations

import pytest

from upbeat.channel import Target, Tls, address_or_default, metadata_of, namespace_or_default, target_of


def test_without_anything_it_is_the_local_server_in_plain_text_and_without_a_token() -> None:
    assert target_of(address_or_default(None), None) == Target("localhost:50051")
    assert metadata_of(None) == ()
    assert namespace_or_default("") == ""


def test_the_environment_speaks_where_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPBEAT_SERVER", "box:1")
    monkeypatch.setenv("UPBEAT_TOKEN", "secret")
    monkeypatch.setenv("UPBEAT_NAMESPACE", "team")
    monkeypatch.setenv("UPBEAT_TLS", "1")
    assert target_of(address_or_default(None), None) == Target("box:1", Tls())
    assert metadata_of(None) == (("authorization", "Bearer secret"),)
    assert namespace_or_default("") == "team"
    monkeypatch.setenv("UPBEAT_TLS_CA", "ca.pem")
    assert target_of("box:1", None) == Target("box:1", Tls(ca="ca.pem"))


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPBEAT_SERVER", "box:1")
    monkeypatch.setenv("UPBEAT_TOKEN", "secret")
    monkeypatch.setenv("UPBEAT_NAMESPACE", "team")
    monkeypatch.setenv("UPBEAT_TLS_CA", "ca.pem")
    assert target_of(address_or_default("here:2"), False) == Target("here:2")
    assert metadata_of("mine") == (("authorization", "Bearer mine"),)
    assert metadata_of("") == ()
    assert namespace_or_default("own") == "own"
