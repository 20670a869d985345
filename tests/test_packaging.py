"""What pyproject.toml promises is there: entry points load, and everything that is asked for is pinned."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import EntryPoint
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = (ROOT / "deploy" / "constraints.txt").read_text(encoding="utf-8")


def entry_points() -> list[EntryPoint]:
    """The script and the entry points of all groups."""
    groups = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    return [
        EntryPoint(name, target, group) for group, named in groups.items() for name, target in named.items()
    ]


def canonical(name: str) -> str:
    """A distribution's name as packaging compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("entry", entry_points(), ids=lambda entry: entry.value)
def test_every_entry_point_leads_to_something_callable(entry: EntryPoint) -> None:
    assert callable(entry.load())


def test_every_requirement_is_pinned_exactly() -> None:
    asked = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    names = {canonical(re.split(r"[\[<>=;! ]", text, maxsplit=1)[0]) for text in asked} - {"upbeat"}
    pinned = {canonical(line.split("==")[0]) for line in PINS.splitlines() if not line.startswith("#")}
    assert names <= pinned


def test_a_pin_is_a_name_and_a_version_and_nothing_else() -> None:
    lines = [line for line in PINS.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []


def test_the_sdk_alone_needs_grpc_and_what_its_stubs_import_only() -> None:
    asked = {re.split(r"[<>=]", text)[0] for text in PROJECT["dependencies"]}
    assert asked == {"googleapis-common-protos", "grpcio", "protobuf"}
