"""How agents compare: levels of types, and effects of agents on them, in log space.

``log(run) = level(type, size) + effect(agent) + effect(agent, type)``, where each part is learned from
what the others leave unexplained. An effect is shrunk by ``n / (n + PRIOR_RUNS)``: the posterior mean under
a normal prior around 0 whose spread is ``1/sqrt(PRIOR_RUNS)`` of that of single runs.

An effect that changes for good (an agent that becomes five times slower) is followed at once: a second,
fast mean takes the place of the slow one as soon as the two are far apart.

What fails is counted as a share that fades: the mean of a Beta posterior with about 10 past attempts in
it. Divided through, ``run / (1 - failing)``, it is what a task takes until it is done.
"""

from __future__ import annotations

from math import frexp

SLOW_WEIGHT = 0.04
FAST_WEIGHT = 0.2
JUMP = 0.75
"""Distance of the two means, in log space, that is hardly chance where runs spread by a factor of 2."""

RUNS_SETTLED = 25
RUNS_TRUSTED = 49
"""Runs that a mean which fades by SLOW_WEIGHT is worth: 2 / weight - 1."""

PRIOR_RUNS = 6.0
FAILING_WEIGHT = 0.1
LEVEL_WEIGHT = 0.02
SIZE_PRIOR_RUNS = 8.0
SIZE_EXPONENT_MIN, SIZE_EXPONENT_MAX = -8, 40
FASTEST_FADES = 0.002


class Effect:
    """By how much something makes runs longer: the mean logarithm of the ratio."""

    __slots__ = ("fast", "runs", "slow", "value")

    def __init__(self, runs: int = 0, slow: float = 0.0, fast: float = 0.0) -> None:
        self.runs = runs
        self.slow = slow
        self.fast = fast
        self.value = slow * _trust(runs)  # What is believed: shrunk towards 0.

    def learn(self, log_ratio: float) -> None:
        """Count one run that took ``exp(log_ratio)`` times as long as expected without this effect."""
        self.runs = runs = self.runs + 1
        if runs <= RUNS_SETTLED:
            self.slow += (log_ratio - self.slow) / runs
            self.fast = (
                self.slow if runs < 1 / FAST_WEIGHT else self.fast + (log_ratio - self.fast) * FAST_WEIGHT
            )
        else:
            self.slow += (log_ratio - self.slow) * SLOW_WEIGHT
            self.fast += (log_ratio - self.fast) * FAST_WEIGHT
        if not -JUMP < self.fast - self.slow < JUMP:
            self.slow = self.fast
        trusted = min(RUNS_TRUSTED, runs)
        self.value = self.slow * (trusted / (trusted + PRIOR_RUNS))


def _trust(runs: int) -> float:
    trusted = min(runs, RUNS_TRUSTED)
    return trusted / (trusted + PRIOR_RUNS)


class SizeOffset:
    """How the runs of one size differ from those of their type."""

    __slots__ = ("offset", "runs")

    def __init__(self, runs: int = 0, offset: float = 0.0) -> None:
        self.runs = runs
        self.offset = offset


class Level:
    """What runs of a type take on an average agent, by size, and how often they fail."""

    __slots__ = ("failing", "fastest", "log_ms", "runs", "sizes")

    def __init__(self) -> None:
        self.runs = 0
        self.log_ms = 0.0
        self.sizes: dict[int, SizeOffset] = {}
        self.failing = 0.0  # Over all agents.
        self.fastest = 0.0  # The smallest effect lately.

    def expected(self, size: float) -> float:
        """Logarithm of the expected run in ms on an average agent. Sizes count by their power of two."""
        if size > 0:
            offset = self.sizes.get(size_bucket(size))
            if offset is not None:
                return self.log_ms + offset.offset * offset.runs / (offset.runs + SIZE_PRIOR_RUNS)
        return self.log_ms

    def learn(self, log_ms: float, size: float, effect: float) -> None:
        """Count a run, what its agent explains of it taken away."""
        self.runs = runs = self.runs + 1
        weight = 1 / runs if runs * LEVEL_WEIGHT < 1 else LEVEL_WEIGHT
        self.log_ms += (log_ms - self.log_ms) * weight
        if size > 0:
            self._learn_size(log_ms, size)
        if self.failing:
            self.failing -= self.failing * LEVEL_WEIGHT
        self.fastest = effect if effect < self.fastest else self.fastest + FASTEST_FADES

    def _learn_size(self, log_ms: float, size: float) -> None:
        bucket = size_bucket(size)
        offset = self.sizes.get(bucket)
        if offset is None:
            offset = self.sizes[bucket] = SizeOffset()
        offset.runs += 1
        weight = 1 / offset.runs if offset.runs * LEVEL_WEIGHT < 1 else LEVEL_WEIGHT
        offset.offset += (log_ms - self.log_ms - offset.offset) * weight

    def learn_failure(self) -> None:
        """Count an attempt that failed."""
        self.failing += (1 - self.failing) * LEVEL_WEIGHT


def size_bucket(size: float) -> int:
    """The bucket of a positive size: its power of two, within bounds."""
    return min(max(frexp(size)[1], SIZE_EXPONENT_MIN), SIZE_EXPONENT_MAX)
