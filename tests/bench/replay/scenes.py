"""What else the default policy has to stand: agents that come and go, overload, a flood, one that degrades.

Each scene answers figures of one fleet, nothing if it cannot be played with it, and knows what is wanted of
their medians.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from tests.bench.figures import percentile
from tests.bench.replay.fleet import Fleet
from tests.bench.replay.latencies import EXTRA, MEAN, P99, figures
from tests.bench.replay.stage import PROBE, Outcome, Play, Stage
from upbeat_server.engine.limits import ChoiceRules, Ordering

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.replay.fleet import Shape
    from tests.bench.replay.trace import Request

DEFAULT = "predictive"
RIVALS = ("least_loaded", "power_of_two", "round_robin")
"""What knows nothing of agents; the last is as near to workers that pull as the engine gets."""

OVERLOAD = 1.15
CLASSES = {4: "CRITICAL", 3: "HIGH", 2: "NORMAL", 1: "LOW"}
STRICT = Ordering(overdue_high_ms=0, overdue_normal_ms=0, overdue_low_ms=0)
KEYS = 10
FLOOD_LOAD = 0.8
FLOOD_SHARE = 0.3
"""Share of the requests that one key submits, all in one tenth of the time."""

FLOOD = "flood"
DEGRADED_LOAD = 0.8
SOUND_LOAD = 0.9
"""Where agents can be left alone that are in trouble: of what the others can do."""


class Terms(msgspec.Struct, frozen=True):
    """What the command says of the scenes."""

    load: float = 0.8  # While agents come and go; the other scenes have one of their own.
    churn_per_minute: float = 0.1
    mix: tuple[float, ...] = (0.05, 0.15, 0.65, 0.15)  # Share of each of CLASSES.


def mix_of(text: str) -> tuple[float, ...]:
    """A mix of classes as it is written: 5/15/65/15. Raises ValueError."""
    problem = (
        f"{text!r} is no mix: write the shares of {', '.join(CLASSES.values())} in percent as 5/15/65/15"
    )
    try:
        shares = [float(part) for part in text.split("/")]
    except ValueError:
        raise ValueError(problem) from None
    if len(shares) != len(CLASSES):
        raise ValueError(f"{problem}; these are {len(shares)}")
    if not all(share > 0 for share in shares) or abs(sum(shares) - 100) > 0.01:
        raise ValueError(f"{problem}, all above 0 and 100 together")
    return tuple(share / 100 for share in shares)


class Goal(msgspec.Struct, frozen=True):
    """A figure of a scene, or its ratio to the least of others, and what it may be at most."""

    figure: str
    most: float
    by: tuple[str, ...] = ()
    by_least: float = 0.0  # It is not judged where the other one is smaller.


def _stage(requests: Sequence[Request], fleet: Fleet, play: Play | None = None) -> Outcome:
    return Stage(requests, fleet, ChoiceRules(), play).run()


def bearable(load: float, requests: Sequence[Request], shape: Shape, seed: int) -> Fleet:
    """A fleet at that load, or at what its agents can do without those that are in trouble."""
    fleet = Fleet(shape, requests, load, seed)
    sound = sum(speed for agent, speed in enumerate(fleet.speeds) if agent not in shape.troubled)
    most = SOUND_LOAD * sound / sum(fleet.speeds)
    return fleet if load <= most or not sound else Fleet(shape, requests, most, seed)


def _wait_s(waits_ms: Sequence[int]) -> float:
    return percentile([wait_ms / 1_000 for wait_ms in waits_ms], 0.99)


def churn(requests: Sequence[Request], shape: Shape, seed: int, terms: Terms) -> dict[str, float]:
    """Latencies in seconds while agents leave and others come, of the default policy and its rivals."""
    if not terms.churn_per_minute:
        return {}
    play = Play(churn_per_minute=terms.churn_per_minute)
    fleet = Fleet(shape, requests, terms.load, seed)
    found = {}
    for policy in (DEFAULT, *RIVALS):
        outcome = Stage(requests, fleet, ChoiceRules(policy=policy), play).run()
        row = figures(outcome.latencies, outcome.attempts)
        found[f"p99 of {policy}"] = row[P99]
        found[f"mean of {policy}"] = row[MEAN]
        found[f"extra runs of {policy} in %"] = 100 * row[EXTRA]
        found["agents that left"] = outcome.left
    return found


def overload(requests: Sequence[Request], shape: Shape, seed: int, terms: Terms) -> dict[str, float]:
    """The p99 wait of each class in seconds at 115 % load, and where classes are strict.

    The overdue lane, every 8th turn of an agent, can only do more for LOW than strict classes do where those
    above it want more than 7/8 of the fleet. Where they want less, they are served as soon as LOW has had its
    turns, and what is left for it is the same in any order. In the mix by default they want 98 %: strict
    classes leave 2 % to LOW, and the lane gives it up to 12.5 %.
    """
    chance = random.Random(seed)
    priorities = chance.choices(list(CLASSES), terms.mix, k=len(requests))
    keys = [f"k{chance.randrange(KEYS)}" for _ in requests]
    fleet = Fleet(shape, requests, OVERLOAD, seed)
    found = {}
    for ordering, suffix in ((Ordering(), ""), (STRICT, ", strict")):
        outcome = _stage(requests, fleet, Play(priorities=priorities, keys=keys, ordering=ordering))
        for priority, name in CLASSES.items():
            waits = [outcome.waits[each] for each, other in enumerate(priorities) if other == priority]
            found[f"{name}{suffix}"] = _wait_s(waits)
    return found


def flood(requests: Sequence[Request], shape: Shape, seed: int, terms: Terms) -> dict[str, float]:
    """The p99 wait of all but the key that floods, in seconds; with keys, and as if there were none."""
    chance = random.Random(seed)
    fleet = bearable(FLOOD_LOAD, requests, shape, seed)
    keys = [FLOOD if chance.random() < FLOOD_SHARE else f"k{chance.randrange(KEYS)}" for _ in requests]
    tenth_ms = fleet.span_s * 100
    for each, key in enumerate(keys):
        if key == FLOOD:
            fleet.arrivals_ms[each] = int(4 * tenth_ms + chance.random() * tenth_ms)
    found = {}
    for name, given in (("other keys", keys), ("other keys, first come", ())):
        waits = _stage(requests, fleet, Play(keys=given)).waits
        found[name] = _wait_s([wait for wait, key in zip(waits, keys, strict=True) if key != FLOOD])
    return found


def degrading(requests: Sequence[Request], shape: Shape, seed: int, terms: Terms) -> dict[str, float]:
    """What an agent that becomes slow, or fails, gets in the middle third, and when it is back.

    One that got nothing before, in the second half of the first third when agents are known (there are better
    ones, and enough of them), is not missed after.
    """
    sound = [agent for agent in range(shape.agents) if agent not in shape.slow]
    if not sound or shape.agents < 2:
        return {}
    degraded = sound[0]
    found = {}
    for name, changes in (
        ("slow", {"slow_in_the_middle": (degraded,), "failing_in_the_middle": ()}),
        ("failing", {"slow_in_the_middle": (), "failing_in_the_middle": (degraded,)}),
    ):
        fleet = bearable(DEGRADED_LOAD, requests, msgspec.structs.replace(shape, **changes), seed)
        outcome = _stage(requests, fleet)
        handed = outcome.handed.get(degraded, [])
        recovery_ms = 2 * fleet.third_ms
        middle = Counter(kind for at_ms, kind in handed if fleet.is_middle(at_ms))
        after = [at_ms for at_ms, kind in handed if at_ms >= recovery_ms and kind != PROBE]
        before = sum(fleet.third_ms / 2 <= at_ms < fleet.third_ms for at_ms, _ in handed)
        found[f"{name}: tasks before"] = float(before)
        found[f"{name}: probes"] = float(middle.pop(PROBE, 0))
        found[f"{name}: tasks"] = float(middle.total())
        found[f"{name}: tasks of one type"] = float(max(middle.values(), default=0))
        found[f"{name}: back after s"] = ((after[0] if after else fleet.span_s * 1_000) - recovery_ms) / 1_000
        found[f"{name}: tasks missed after"] = float(before > 0 and not after)
    return found


SCENES: dict[str, Callable[[Sequence[Request], Shape, int, Terms], dict[str, float]]] = {
    "latencies in s while agents come and go": churn,
    "p99 waits in s at 115 % load": overload,
    "p99 waits in s in the flood of one key": flood,
    "one agent degrades in the middle third": degrading,
}
GOALS = {
    "latencies in s while agents come and go": tuple(
        Goal(f"{figure} of {DEFAULT}", 1.0, tuple(f"{figure} of {rival}" for rival in RIVALS))
        for figure in ("p99", "mean")
    ),
    "p99 waits in s at 115 % load": (
        Goal("CRITICAL", 0.5),
        Goal("HIGH", 3.5),
        Goal("LOW", 0.9, ("LOW, strict",), by_least=Ordering().overdue_low_ms / 1_000),
    ),
    "p99 waits in s in the flood of one key": (Goal("other keys", 3.5),),
    "one agent degrades in the middle third": (
        Goal("slow: tasks", 20),
        Goal("failing: tasks", 20),
        Goal("slow: tasks missed after", 0),
        Goal("failing: tasks missed after", 0),
    ),
}
