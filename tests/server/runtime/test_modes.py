"""Modes of other packages: found by their entry points, or told in one sentence why not."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from tests.support.wire_specs import Picky
from upbeat_server.app import App, StartFailed
from upbeat_server.runtime import modes
from upbeat_server.runtime.modes import GROUP, ModeInvalid, installed_modes

PICKY = Picky()
HALF: Any = type("Half", (), {"faults": lambda self, custom: ()})()


def publish(monkeypatch: pytest.MonkeyPatch, *published: tuple[str, str]) -> None:
    """Publish objects of this module, or others, under these names."""

    def found(group: str) -> Iterable[EntryPoint]:
        assert group == GROUP
        return [EntryPoint(name, value, GROUP) for name, value in published]

    monkeypatch.setattr(modes, "entry_points", found)


HERE = f"{__name__}:"


def test_a_published_mode_is_there_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, ("picky", f"{HERE}PICKY"), ("a.b-c_1", f"{HERE}PICKY"))
    assert installed_modes() == {"picky": PICKY, "a.b-c_1": PICKY}


def test_without_any_there_is_none() -> None:
    assert installed_modes() == {}


@pytest.mark.parametrize(
    ("published", "why"),
    [
        ([("picky", "no.such.module:MODE")], "cannot be loaded"),
        ([("picky", f"{HERE}NOTHING")], "cannot be loaded"),
        ([("picky", f"{HERE}Picky")], "is a class"),
        ([("picky", f"{HERE}HALF")], "has no children_max and no reducer"),
        ([("a b", f"{HERE}PICKY")], "its name must be"),
        ([("x" * 64, f"{HERE}PICKY")], "its name must be"),
        ([("consensus", f"{HERE}PICKY")], "built in"),
        ([("picky", f"{HERE}PICKY"), ("picky", f"{HERE}PICKY")], "of the same name"),
    ],
)
async def test_one_that_cannot_be_used_stops_the_start_with_one_sentence(
    published: list[tuple[str, str]], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, *published)
    with pytest.raises(ModeInvalid, match=why):
        installed_modes()
    with pytest.raises(StartFailed, match=why) as caught:
        await App.embedded().start()
    assert "\n" not in str(caught.value)


async def test_a_server_gives_them_to_its_door_and_its_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, ("picky", f"{HERE}PICKY"))
    app = App.embedded()
    await app.start()
    try:
        assert app.orchestrator.limits.modes == {"picky": PICKY}
    finally:
        await app.stop()
