"""What was learned: success and duration for each (task type, agent), with priors.

Durations are averaged in log space (they are close to lognormal), so that one
slow run does not spoil the estimate: ``mean = exp(m)`` with
``m += (log(d) - m) * weight``. The weight is 1/n for the first runs and settles
at ``EWMA_WEIGHT``. Unknown cells fall back to the task type as a whole.

Agents are compared by *effects*: the logarithm of a run is taken for the level of its type (and size)
plus the effect of the agent plus one of the agent on the type. Effects are shrunk towards 0 while
little is known of them, so an agent that is new to a type is first judged by its other work (``effects.py``).
An agent that fails at everything is told by its streak (``streaks.py``).

A run is what the server sees of it, waiting at a busy agent included. Its *share*
is the run divided by what ran beside it: what one task takes of an agent's time.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt

from upbeat_server.engine.effects import FAILING_WEIGHT, Effect, Level
from upbeat_server.engine.streaks import Streaks

EWMA_WEIGHT = 0.1
RUNS_SETTLED = 10
"""Runs after which the weight of one more is EWMA_WEIGHT."""
DURATION_MIN_MS = 0.1
"""The clock has nothing shorter to say."""
LOG_MIN = log(DURATION_MIN_MS)
CELLS_MAX = 100_000
UNKNOWN_MS = 1_000.0
RUNS_FOR_QUANTILE = 20
LATE_DEVIATIONS = 2.326
"""Of a normal distribution: one in a hundred is beyond."""


NO_EFFECT = Effect()
"""Of cells that are not of one agent."""


class Cell:
    """The record of one (type, agent), or of one type over all agents."""

    __slots__ = ("_duration_ms", "count", "effect", "failing", "log_ms", "log_variance", "runs", "successes")

    def __init__(self) -> None:
        self.effect = NO_EFFECT  # Of one agent on one type, besides its overall one.
        self.failing = 0.0  # Share of attempts that fail lately, see effects.py.
        self.count = 0
        self.successes = 0
        self.runs = 0  # Successful runs, whose durations count.
        self.log_ms = 0.0
        self.log_variance = 0.0
        self._duration_ms = 0.0  # 0 until somebody asks.

    @property
    def success_rate(self) -> float:
        """Share of attempts that completed; 1 before the first."""
        return self.successes / self.count if self.count else 1.0

    @property
    def duration_ms(self) -> float:
        """Estimate of one run in ms; 0 before the first."""
        if not self._duration_ms and self.runs:
            self._duration_ms = exp(self.log_ms)
        return self._duration_ms

    def learn(self, ms: float, *, completed: bool) -> None:
        """Count one attempt; only completed ones say something of the duration."""
        if completed:
            self.learn_run(log(ms) if ms > DURATION_MIN_MS else LOG_MIN)
        else:
            self.count += 1

    def learn_run(self, log_ms: float) -> None:
        """Count a completed attempt by the logarithm of its duration in ms."""
        self.count += 1
        self.successes += 1
        self.runs = runs = self.runs + 1
        weight = EWMA_WEIGHT if runs >= RUNS_SETTLED else 1 / runs
        difference = log_ms - self.log_ms
        self.log_ms += difference * weight
        self.log_variance = (1 - weight) * (self.log_variance + weight * difference * difference)
        self._duration_ms = 0.0


class Predictor:
    """All records. The oldest cell gives way when there are more than ``CELLS_MAX``."""

    __slots__ = ("agents", "cells", "levels", "shares", "streaks", "types")

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], Cell] = {}
        self.types: dict[str, Cell] = {}
        self.shares: dict[str, Cell] = {}
        self.levels: dict[str, Level] = {}
        self.agents: dict[str, Effect] = {}
        self.streaks = Streaks()

    def learn(
        self,
        task_type: str,
        agent_id: str,
        ms: float,
        *,
        completed: bool,
        beside: int = 0,
        size: float = 0.0,
    ) -> None:
        """Count one attempt of an agent.

        ``beside`` is how many it ran at the time; 0: not known. ``size`` is the task's size hint.
        """
        cell = self.cells.get((task_type, agent_id))
        if cell is None:
            cell = self.cell(task_type, agent_id)
        overall = self.types[task_type]
        if completed:
            log_ms = log(ms) if ms > DURATION_MIN_MS else LOG_MIN
            cell.learn_run(log_ms)
            overall.learn_run(log_ms)
            self._compare(task_type, agent_id, cell, log_ms, size)
            if beside:
                self.learn_share(task_type, ms / beside)
        else:
            cell.count += 1
            overall.count += 1
            cell.failing += (1 - cell.failing) * FAILING_WEIGHT
            self.levels[task_type].learn_failure()

    def learn_overtaken(self, task_type: str, agent_id: str, ms: float, size: float = 0.0) -> None:
        """Count an attempt that is given up after so long: it is slow, and might have failed in the end."""
        cell = self.cell(task_type, agent_id)
        level, overall = self.levels[task_type], self.types[task_type]
        failing, failing_everywhere = cell.failing, level.failing
        self.learn(task_type, agent_id, ms, completed=True, size=size)
        cell.failing, level.failing = failing, failing_everywhere
        for record in (cell, overall):
            record.count -= 1
            record.successes -= 1

    def surprise(self, task_type: str) -> float:
        """By how much it surprises that an attempt at such a task fails, from 0 to 1."""
        level = self.levels.get(task_type)
        return 1.0 if level is None else 1 - level.failing

    def failing(self, task_type: str, agent_id: str) -> float:
        """Share of the agent's attempts at such tasks that is expected to fail."""
        if self.streaks.is_out(agent_id):
            return 1.0
        cell = self.cells.get((task_type, agent_id))
        return cell.failing if cell is not None else 0.0

    def cell(self, task_type: str, agent_id: str) -> Cell:
        """The cell, made if it is new, with what is known of its type and its agent."""
        cell = self.cells.get((task_type, agent_id))
        if cell is None:
            if len(self.cells) >= CELLS_MAX:
                del self.cells[next(iter(self.cells))]
            cell = self.cells[task_type, agent_id] = Cell()
            cell.effect = Effect()
        if task_type not in self.types:
            if len(self.types) >= CELLS_MAX:
                oldest = next(iter(self.types))
                del self.types[oldest]
                del self.levels[oldest]
            self.types[task_type] = Cell()
            self.levels[task_type] = Level()
        if agent_id not in self.agents:
            if len(self.agents) >= CELLS_MAX:
                del self.agents[next(iter(self.agents))]
            self.agents[agent_id] = Effect()
        return cell

    def _compare(self, task_type: str, agent_id: str, cell: Cell, log_ms: float, size: float) -> None:
        """Learn from a completed run how the agent compares with others."""
        level = self.levels[task_type]
        agent = self.agents.get(agent_id)
        if agent is None:
            agent = self.agents[agent_id] = Effect()
        overall, own = agent.value, cell.effect.value
        residual = log_ms - (level.expected(size) if size else level.log_ms)
        if level.runs:
            agent.learn(residual - own)
            cell.effect.learn(residual - overall)
        level.learn(log_ms - overall - own, size, overall + own)
        if cell.failing:
            cell.failing -= cell.failing * FAILING_WEIGHT

    def run_ms(self, task_type: str, agent_id: str, size: float = 0.0) -> float:
        """Expected run of a task on one agent; UNKNOWN_MS while nothing is known of the type."""
        level = self.levels.get(task_type)
        if level is None or not level.runs:
            return UNKNOWN_MS
        log_ms = level.expected(size)
        agent = self.agents.get(agent_id)
        if agent is not None:
            log_ms += agent.value
        cell = self.cells.get((task_type, agent_id))
        if cell is not None:
            log_ms += cell.effect.value
        return exp(log_ms)

    def learn_share(self, task_type: str, ms: float) -> None:
        """Count a completed run divided by what ran beside it on its agent."""
        cell = self.shares.get(task_type)
        if cell is None:
            if len(self.shares) >= CELLS_MAX:
                del self.shares[next(iter(self.shares))]
            cell = self.shares[task_type] = Cell()
        cell.learn_run(log(ms) if ms > DURATION_MIN_MS else LOG_MIN)

    def share_ms(self, task_type: str) -> float:
        """Expected time of an agent that one run takes; UNKNOWN_MS while nothing is known."""
        cell = self.shares.get(task_type)
        return cell.duration_ms if cell is not None else UNKNOWN_MS

    def type_ms(self, task_type: str) -> float:
        """Expected run of a type over all agents; UNKNOWN_MS while nothing is known."""
        overall = self.types.get(task_type)
        if overall is None or not overall.runs:
            return UNKNOWN_MS
        return overall._duration_ms or overall.duration_ms

    def quantile_ms(self, task_type: str, quantile: float) -> float | None:
        """Quantile of the runs of a type, taken for lognormal; None while fewer than 20 are known."""
        overall = self.types.get(task_type)
        if overall is None or overall.runs < RUNS_FOR_QUANTILE:
            return None
        return exp(overall.log_ms + _deviations(quantile) * sqrt(overall.log_variance))

    def late_ms(self, task_type: str, agent_id: str, size: float) -> float:
        """What one run of such a task on the agent in a hundred takes; infinite while little is known."""
        overall = self.types.get(task_type)
        if overall is None or overall.runs < RUNS_FOR_QUANTILE:
            return inf
        return self.run_ms(task_type, agent_id, size) * exp(LATE_DEVIATIONS * sqrt(overall.log_variance))

    def agent_cells(self, agent_id: str, types: frozenset[str]) -> list[tuple[str, Cell]]:
        """What is known of one agent, by task type."""
        found = []
        for task_type in sorted(types):
            cell = self.cells.get((task_type, agent_id))
            if cell is not None:
                found.append((task_type, cell))
        return found


def _deviations(quantile: float) -> float:
    """Standard deviations from the mean to a quantile of at least 0.5 of a normal distribution.

    Abramowitz and Stegun, 26.2.23: the error is below 4.5e-4.
    """
    t = sqrt(-2 * log(1 - quantile))
    above = 2.515517 + t * (0.802853 + t * 0.010328)
    below = 1 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    return t - above / below
