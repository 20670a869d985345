"""From a collaboration to its reducer: the five modes by their names, and those of others."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.support.mode_stage import AnyMode, KnownFacts, json, step
from upbeat_server.engine.collaboration.mode import Child, Facts, Finish, Move, Reducer, Setting, Spawn, given
from upbeat_server.engine.collaboration.modes import UnknownMode, mode_name, reducer_of
from upbeat_server.engine.model import (
    NO_PAYLOAD,
    Collaboration,
    Competitive,
    Consensus,
    CustomMode,
    Parallel,
    Pipeline,
    Sequential,
    TaskState,
)

ONE = (step(),)


class Relay:
    """Two children that pass the input on: a mode as somebody else would write it."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def begin(self, facts: Facts) -> list[Move]:
        """See Reducer."""
        return [Spawn("first", given(step(), self.setting.input))]

    def ended(self, child: Child) -> list[Move]:
        """See Reducer."""
        if child.key == "first":
            return [Spawn("second", given(step(), child.output or NO_PAYLOAD))]
        return [Finish(child.output or NO_PAYLOAD)]

    def woken(self, facts: Facts) -> list[Move]:
        """See Reducer."""
        return []


class RelayMode:
    """What is installed."""

    def faults(self, custom: CustomMode) -> Iterable[tuple[str, str]]:
        """See Mode."""
        return [] if custom.params != NO_PAYLOAD else [("params", "is missing")]

    def children_max(self, custom: CustomMode) -> int:
        """See Mode."""
        return 1

    def reducer(self, setting: Setting) -> Reducer:
        """See Mode."""
        return Relay(setting)


def setting(mode: AnyMode | CustomMode) -> Setting:
    return Setting(Collaboration(mode=mode), json("[]"))


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        (Sequential(ONE), "sequential"),
        (Parallel(ONE), "parallel"),
        (Pipeline(ONE), "pipeline"),
        (Consensus(step()), "consensus"),
        (Competitive(ONE), "competitive"),
    ],
)
def test_every_mode_has_a_name_and_a_reducer_that_begins(mode: AnyMode, name: str) -> None:
    begun = setting(mode)
    assert mode_name(begun.collaboration) == name
    assert any(isinstance(move, Spawn) for move in reducer_of(begun, {}).begin(KnownFacts()))


def test_a_mode_of_somebody_else_is_found_by_its_name() -> None:
    begun = setting(CustomMode("relay"))
    assert mode_name(begun.collaboration) == "relay"
    reducer = reducer_of(begun, {"other": RelayMode(), "relay": RelayMode()})
    (spawn,) = reducer.begin(KnownFacts())
    assert isinstance(spawn, Spawn)
    (spawn,) = reducer.ended(Child(spawn.key, 1, TaskState.COMPLETED, output=json("1")))
    assert isinstance(spawn, Spawn)
    assert reducer.ended(Child(spawn.key, 2, TaskState.COMPLETED, output=json("2"))) == [Finish(json("2"))]


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UnknownMode, match="no mode named 'relay' is installed; installed are: a, b"):
        reducer_of(setting(CustomMode("relay")), {"b": RelayMode(), "a": RelayMode()})
    with pytest.raises(UnknownMode, match="installed are: none"):
        reducer_of(setting(CustomMode("relay")), {})
