"""The simulated fleet: how long which agent takes for a request.

Fleets of different seeds differ in who is fast and not in what they can do together, so that a median of
three fleets stands for that of many. Speeds are the quantiles of their distribution. Affinities go round:
who is good at one type is bad at the next; and those that are good at the same types share out the whole
range of speeds, or one fleet would be good at what there is most of, and another bad. How fast the agents
are that are slow, which decides what the fleet loses with them, follows Halton's sequence over the seeds
(1960). The noise of runs is the quantiles of its distribution in random order; it belongs to the request:
every policy meets the same misfortune.

Load is the work of all requests by what the slots could do of it in the time of the trace at their speeds.
That agents are slow is not taken off: with one slow all of the time and one a third of it the fleet has 3 %
more to do than it says. The first tenth of the requests is not counted. Of the readings that were tried (slow
agents taken off, speeds left out, affinities dealt at random, noise of each agent, parts of the trace) this
comes nearest to the figures of a reference simulator. Azure's traces of 2023 as two types, p99 (mean) in
seconds, medians over the first three and the first nine seeds, and p99 of the best and the worst of nine:

| load | measure | reference | 3 seeds | 9 seeds | spread |
|---|---|---:|---:|---:|---:|
| 0.8 | least loaded, bound at once | 29.4 (5.7) | 30.8 (5.6) | 30.7 (5.5) | 29.0 - 31.6 |
| 0.8 | pull workers | 27.6 (5.5) | 30.3 (5.5) | 30.2 (5.5) | 28.4 - 31.0 |
| 0.8 | oracle | 16.0 (4.6) | 15.7 (4.6) | 15.6 (4.6) | 15.3 - 15.9 |
| 0.9 | least loaded, bound at once | 42.2 (9.4) | 43.1 (9.0) | 42.2 (8.7) | 39.3 - 47.1 |
| 0.9 | pull workers | 31.0 | 33.3 (8.8) | 33.3 (8.7) | 31.3 - 35.3 |
| 0.9 | oracle | 18.4 | 18.2 (5.7) | 18.1 (5.6) | 17.3 - 18.9 |
"""

from __future__ import annotations

import random
from math import exp
from statistics import NormalDist
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.replay.trace import Request


BASES = (2, 3, 5, 7, 11, 13)
"""Of the sequences that say how fast agents are that are troubled; further ones are as chance has it."""


class FleetInvalid(Exception):
    """A fleet that cannot be simulated."""


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fleet as a JSON file describes it; what it leaves out is as here."""

    agents: int = 32
    slots: int = 4
    speed_sd: float = 0.40  # Of the logarithm.
    affinities: tuple[float, ...] = (0.75, 1.25)  # A run's factor, one of them for each agent and type.
    noise_sd: float = 0.25  # Of the logarithm.
    slowness: float = 5.0  # Factor of those that are slow:
    slow: tuple[int, ...] = (0,)  # always,
    slow_in_the_middle: tuple[int, ...] = (1,)  # and in the middle third.
    failing_in_the_middle: tuple[int, ...] = ()  # These fail all they get, at once; not in the baselines.
    base_s: float = 0.2
    input_ms: float = 0.25  # For each token.
    output_ms: float = 30.0

    def problem(self) -> str:
        """What is wrong with it; "" if nothing."""
        if self.agents < 1 or self.slots < 1:
            return "agents and slots must be at least 1"
        if self.slowness < 1 or not self.affinities or min(self.affinities) <= 0:
            return "slowness must be at least 1, and there must be affinities, all above 0"
        if min(self.speed_sd, self.noise_sd, self.base_s, self.input_ms, self.output_ms) < 0:
            return "speed_sd, noise_sd, base_s, input_ms and output_ms cannot be below 0"
        if any(not 0 <= agent < self.agents for agent in self.troubled):
            return f"slow and slow_in_the_middle are numbers of agents, from 0 to {self.agents - 1}"
        return ""

    @property
    def troubled(self) -> tuple[int, ...]:
        """Agents that are not as they should be, always or for a time."""
        return (*self.slow, *self.slow_in_the_middle, *self.failing_in_the_middle)


def read(path: Path) -> Shape:
    """The fleet of a JSON file. Raises FleetInvalid."""
    try:
        shape = msgspec.json.decode(path.read_bytes(), type=Shape)
    except (OSError, msgspec.DecodeError) as error:
        raise FleetInvalid(f"{path}: {error}; see Shape in tests/bench/replay/fleet.py") from None
    if problem := shape.problem():
        raise FleetInvalid(f"{path}: {problem}")
    return shape


def _quantiles(sd: float, count: int) -> list[float]:
    """The middles of ``count`` equal parts of a lognormal distribution, smallest first."""
    normal = NormalDist()
    return [exp(sd * normal.inv_cdf((place + 0.5) / count)) for place in range(count)]


def _radical_inverse(number: int, base: int) -> float:
    """The digits of the number mirrored at the point: for 1, 2, 3 ... in base 2 1/2, 1/4, 3/4, 1/8 ..."""
    inverse, scale = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        scale /= base
        inverse += digit * scale
    return inverse


def _speeds(shape: Shape, seed: int, chance: random.Random) -> list[float]:
    """Who is how fast: those that are good at the same types share out the whole range of speeds."""
    ranks = {
        agent: _radical_inverse(seed, base)
        for agent, base in zip(dict.fromkeys(shape.troubled), BASES, strict=False)
    }
    places: dict[int, float] = {}
    for first in range(min(shape.agents, len(shape.affinities))):
        alike = range(first, shape.agents, len(shape.affinities))
        parts = list(range(len(alike)))
        for agent in sorted(alike, key=lambda agent: agent not in ranks):  # These choose first.
            rank = ranks.get(agent, chance.random())
            part = parts.pop(int(rank * len(parts)))
            places[agent] = (part + chance.random()) / len(alike)
    speeds = dict(
        zip(sorted(places, key=places.__getitem__), _quantiles(shape.speed_sd, shape.agents), strict=True)
    )
    return [speeds[agent] for agent in range(shape.agents)]


class Fleet:
    """The agents of one seed with one trace at one load."""

    def __init__(self, shape: Shape, requests: Sequence[Request], load: float, seed: int) -> None:
        chance = random.Random(seed)
        self.shape = shape
        self.speeds = _speeds(shape, seed, chance)
        affinities = shape.affinities
        self._affinity = {
            kind: [affinities[(agent + place) % len(affinities)] for agent in range(shape.agents)]
            for place, kind in enumerate(sorted({request.type for request in requests}))
        }
        self.work_s = [
            (
                shape.base_s
                + (request.input_tokens * shape.input_ms + request.output_tokens * shape.output_ms) / 1_000
            )
            for request in requests
        ]
        self._noise = _quantiles(shape.noise_sd, len(requests))
        chance.shuffle(self._noise)
        self._types = [request.type for request in requests]
        # Load: work that arrives by what all slots do at their speed, as if no agent were slow.
        capacity = shape.slots * sum(self.speeds)
        self.span_s = sum(self.work_s) / capacity / load
        scale = self.span_s / requests[-1].arrival_s
        self.arrivals_ms = [int(request.arrival_s * scale * 1_000) for request in requests]
        self.third_ms = int(self.span_s * 1_000 / 3)

    def is_middle(self, now_ms: int) -> bool:
        """Whether it is the middle third."""
        return self.third_ms <= now_ms < 2 * self.third_ms

    def is_slow(self, agent: int, now_ms: int) -> bool:
        """Whether the agent is slow just now."""
        shape = self.shape
        return agent in shape.slow or (agent in shape.slow_in_the_middle and self.is_middle(now_ms))

    def is_failing(self, agent: int, now_ms: int) -> bool:
        """Whether the agent fails what it gets just now."""
        return agent in self.shape.failing_in_the_middle and self.is_middle(now_ms)

    def run_ms(self, request: int, agent: int, now_ms: int) -> int:
        """How long the agent takes for the request if it begins now."""
        run_s = self.work_s[request] * self._noise[request] / self.speeds[agent]
        run_s *= self._affinity[self._types[request]][agent]
        if self.is_slow(agent, now_ms):
            run_s *= self.shape.slowness
        return max(1, round(run_s * 1_000))
