"""What a seed draws: how large, how bad, and in which ways.

Every fault is absent from about half of the runs and of another strength in each of the
others: a run that has all of them hides what needs few (swarm testing). Each part of a run
draws from a stream of its own, so that taking a fault away changes nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from random import Random
from typing import Any

FAULTS = (
    "stalls",
    "breaks",
    "partitions",
    "hostile",
    "agent_deaths",
    "agent_freezes",
    "agent_departures",
    "failures",
    "hangs",
    "liars",
    "store_slow",
    "store_full",
    "store_unknown",
    "store_reads",
    "store_opens",
    "server_deaths",
    "server_stops",
    "server_freezes",
    "clock_jumps",
    "cancels",
    "timeouts",
    "small_bounds",
    "purges",
    "drains",
    "deaths_in_commits",
    "collaborations",
    "pauses",
    "quotas",
)
"""What can be taken away from a run by name."""
APART = frozenset({"collaborations", "pauses", "quotas"})
"""Drawn apart, in the order of their names, so that a run without them is the run that it was before."""


def stream(seed: int, name: str) -> Random:
    """The random numbers of one part of a run."""
    return Random(f"{seed}/{name}")


@dataclass
class WireMix:
    """The network."""

    delay_ms_max: float = 5.0
    stall_share: float = 0.0
    is_hostile: bool = False
    drop_share: float = 0.0


@dataclass
class StoreMix:
    """The medium."""

    delay_ms_max: float = 5.0
    slow_share: float = 0.0
    slow_ms_max: float = 0.0
    unknown_share: float = 0.0
    read_error_share: float = 0.0
    open_error_share: float = 0.0


@dataclass
class Mix:
    """One run."""

    seed: int
    without: frozenset[str] = frozenset()
    strengths: dict[str, float] = field(default_factory=dict)
    wire: WireMix = field(default_factory=WireMix)
    store: StoreMix = field(default_factory=StoreMix)
    duration_s: float = 30.0
    tasks: int = 20
    agents: int = 3
    shuffle: float = 0.0
    is_fair: bool = False
    turn_budget_ms: float = 2.0

    def strength(self, fault: str) -> float:
        """0 when the fault is absent, else up to 1."""
        return self.strengths.get(fault, 0.0)

    def has(self, fault: str) -> bool:
        """Whether the fault is in the run."""
        return fault in self.strengths

    @property
    def is_hedged(self) -> bool:
        """Whether agents are soon out, and much of what they do is done twice."""
        return self.rng("hedges").random() < 0.3

    def rng(self, name: str) -> Random:
        """The random numbers of one part of the run."""
        return stream(self.seed, name)

    def describe(self) -> str:
        """The run in one line."""
        faults = " ".join(f"{name}={strength:.2f}" for name, strength in self.strengths.items())
        return (
            f"{self.tasks} tasks, {self.agents} agents, {self.duration_s:.0f} s"
            f"{', fair' if self.is_fair else ''}: {faults or 'no faults'}"
        )


def draw(seed: int, without: frozenset[str] = frozenset()) -> Mix:
    """The mix of a seed, perhaps without some of its faults."""
    rng = stream(seed, "mix")
    mix = Mix(seed, without)
    mix.is_fair = rng.random() < 0.15
    mix.duration_s = rng.choice((8.0, 15.0, 30.0, 60.0))
    mix.tasks = rng.choice((6, 12, 20, 30))
    mix.agents = rng.choice((1, 2, 3, 4))
    mix.shuffle = rng.choice((0.0, 0.0, 0.05, 0.3))
    mix.turn_budget_ms = rng.choice((2.0, 2.0, 0.0))
    is_calm = rng.random() < 0.05
    for fault in FAULTS:
        if fault in APART:
            continue
        is_there, strength = rng.random() < 0.4, 10 ** rng.uniform(-1.0, 0.0)
        if is_there and not is_calm and fault not in without:
            mix.strengths[fault] = strength
    apart = stream(seed, "apart")
    for fault in sorted(APART):
        is_there, strength = apart.random() < 0.5, apart.uniform(0.1, 0.5)
        if is_there and fault not in without:
            mix.strengths[fault] = strength
    if mix.is_fair:
        _make_fair(mix)
    mix.wire = _wire(mix, rng)
    mix.store = _store(mix, rng)
    return mix


def _make_fair(mix: Mix) -> None:
    """A backlog that keys compete for, with little else in the way."""
    for fault in set(mix.strengths) - {
        "stalls",
        "store_slow",
        "store_full",
        "clock_jumps",
        "breaks",
        "server_deaths",
    }:
        del mix.strengths[fault]
    mix.tasks = 90
    mix.agents = 2
    mix.duration_s = 30.0


def _wire(mix: Mix, rng: Random) -> WireMix:
    wire = WireMix(delay_ms_max=rng.choice((1.0, 5.0, 50.0)))
    wire.stall_share = 0.05 * mix.strength("stalls")
    wire.is_hostile = mix.has("hostile")
    wire.drop_share = 0.1 * mix.strength("hostile")
    return wire


def _store(mix: Mix, rng: Random) -> StoreMix:
    store = StoreMix(delay_ms_max=rng.choice((0.5, 5.0, 20.0)))
    store.slow_share = 0.1 * mix.strength("store_slow")
    store.slow_ms_max = rng.choice((200.0, 4_000.0))
    store.unknown_share = 0.05 * mix.strength("store_unknown")
    store.read_error_share = 0.3 * mix.strength("store_reads")
    store.open_error_share = 0.5 * mix.strength("store_opens")
    return store


def names_of(what: Any) -> list[str]:
    """The fields of a mix, for whoever prints it."""
    return [each.name for each in fields(what)]
