"""What users see: everything public is exported, documented and typed."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import upbeat
from upbeat import Kind, Skill, codec, errors, testing

PUBLIC = [(name, getattr(upbeat, name)) for name in upbeat.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", upbeat.__all__)
def test_every_name_can_be_imported_and_is_listed(name: str) -> None:
    assert getattr(upbeat, name) is not None
    assert name in dir(upbeat)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Swarm"):
        _ = upbeat.Swarm


@pytest.mark.parametrize(("name", "thing"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_everything_public_is_documented(name: str, thing: Any) -> None:
    assert inspect.getdoc(thing), name
    if not inspect.isclass(thing):
        return
    for member, value in vars(thing).items():
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


def test_every_error_is_documented_and_an_upbeat_error() -> None:
    for name, thing in vars(errors).items():
        if (
            inspect.isclass(thing)
            and issubclass(thing, BaseException)
            and thing.__module__ == errors.__name__
        ):
            assert thing.__doc__, name
            assert issubclass(thing, errors.UpbeatError | errors.Fail | errors.AttemptCancelled), name


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(upbeat.__file__).parent / "py.typed").exists()


def test_without_the_server_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: EntryPoint) -> Any:
        raise ImportError("No module named 'upbeat_server'")

    monkeypatch.setattr(EntryPoint, "load", missing)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(errors.ServerExtraMissing, match=r"upbeat\[server\]"), testing.server():
        pass


def test_a_kind_stands_where_one_of_wider_outputs_is_expected() -> None:
    counting: Skill[str, int] = Skill("count", str, int)
    wide: Kind[str, object] = counting  # Checked with the types: print(await up.run(counting, "a")) needs it.
    assert wide.decode_output(codec.encode(3)) == 3
