"""Collaborations that are submitted in a run: every mode, small, and within each other.

Three levels at most, and steps that hold a collaboration are few, so that a seed costs
about what it does without them. The answers that steps are judged by are in ``answers.py``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.simulation.answers import ATTEMPT_COST_MICROS, CHOICES
from upbeat.v1 import task_spec_pb2

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.mix import Mix
    from tests.simulation.quotas import Limiter

pb: Any = task_spec_pb2
TYPES = ("work", "play")
DEPTH_MAX = 3
NESTED_SHARE = 0.15
PANEL_MAX = 8
"""Agents that the largest panel needs: a ballot of three, three replacements, one more and one to spare."""

FALLBACK, QUORUM, BY_NAME = 3, 2, 2
DROP, DEAD_LETTER = 2, 3
SUPERMAJORITY, NUMBER, JUDGE, PERFORMANCE = 3, 4, 4, 3
FIRST_ACCEPTABLE, BEST_OF, HEDGED = 2, 3, 2


class Teamwork:
    """Makes collaborations out of its own random numbers."""

    def __init__(self, mix: Mix, rng: Random, limiter: Limiter) -> None:
        self._mix = mix
        self._limiter = limiter
        self._rng = rng
        self._is_pure = False  # Within a competition, where nothing may be UNSAFE.
        self._modes = (self._sequential, self._parallel, self._pipeline, self._consensus, self._competitive)

    def instead_of(self, spec: Any, number: int) -> Any:
        """A collaboration in the place of a plain task: it has its class, key and time."""
        rng = self._rng
        made = pb.TaskSpec(priority=spec.priority, fairness_key=spec.fairness_key, dedup_key=spec.dedup_key)
        made.input.content_type = "application/json"
        made.input.data = _document(f"r{number}", rng)
        if spec.HasField("total_timeout"):
            made.total_timeout.CopyFrom(spec.total_timeout)
        self._is_pure = False
        made.collaboration.CopyFrom(self._collaboration(1))
        return made

    def _collaboration(self, depth: int) -> Any:
        rng = self._rng
        made = pb.Collaboration(max_concurrency=rng.randrange(1, 5))
        if rng.random() < 0.25:
            self._add_budget(made.budget)
        if rng.random() < 0.1:
            made.on_infeasible = 2
        if rng.random() < 0.2:
            made.cancel_grace.FromMilliseconds(rng.choice((0, 500)))
        if rng.random() < 0.2:
            made.include_partial = False
        if self._mix.has("timeouts") and rng.random() < 0.3:
            made.step_timeout.FromMilliseconds(rng.choice((300, 2_000, 20_000)))
        if rng.random() < 0.3:
            made.distinct_agents = rng.random() < 0.7
        rng.choice(self._modes)(made, depth)
        return made

    def _add_budget(self, budget: Any) -> None:
        rng = self._rng
        match rng.randrange(3):
            case 0:
                budget.max_children = rng.choice((1, 2, 4, 8))
            case 1:
                budget.max_attempts_total = rng.choice((1, 2, 4, 8))
            case _:
                budget.attempt_cost_micros = ATTEMPT_COST_MICROS
                budget.max_cost_micros = ATTEMPT_COST_MICROS * rng.choice((1, 2, 4, 8))

    # Steps.

    def _step(self, depth: int) -> Any:
        """Work, or a collaboration in turn."""
        rng = self._rng
        if depth < DEPTH_MAX and rng.random() < NESTED_SHARE:
            nested = pb.TaskSpec()
            if rng.random() < 0.5:
                nested.input.data = _document("nested", rng)
            if self._mix.has("timeouts") and rng.random() < 0.2:
                nested.total_timeout.FromMilliseconds(rng.choice((1_000, 20_000)))
            nested.collaboration.CopyFrom(self._collaboration(depth + 1))
            return nested
        return self._work()

    def _work(self) -> Any:
        rng = self._rng
        step = pb.TaskSpec(type=rng.choice(TYPES), side_effects=rng.choice((0, 1, 1, 2, 3)))
        if self._is_pure and step.side_effects == 3:
            step.side_effects = 1
        if rng.random() < 0.1:
            step.required_capabilities.append("gpu")
        if rng.random() < 0.1:
            step.selector = "'zone' in labels && labels['zone'] == 'a'"
        if rng.random() < 0.2:
            step.input.data = b"an input of its own"
        step.retry.max_attempts = rng.choice((1, 1, 2, 4))
        step.retry.initial_backoff.FromMilliseconds(rng.choice((10, 1_000)))
        if self._mix.has("timeouts"):
            for timeout, share in ((step.attempt_timeout, 0.3), (step.queue_timeout, 0.1)):
                if rng.random() < share:
                    timeout.FromMilliseconds(rng.choice((500, 2_000, 20_000)))
        self._limiter.limit(step)
        return step

    def _steps(self, count: int, depth: int) -> list[Any]:
        steps = [self._step(depth) for _ in range(count)]
        if self._rng.random() < 0.5:
            for number, step in enumerate(steps):
                step.name = f"s{number}"
        return steps

    # Modes.

    def _sequential(self, made: Any, depth: int) -> None:
        rng = self._rng
        mode = made.sequential
        mode.steps.extend(self._steps(rng.randrange(2, 5), depth))
        mode.context = rng.randrange(4)
        mode.on_step_failure = rng.randrange(4)
        if mode.on_step_failure == FALLBACK:
            mode.fallback.CopyFrom(self._step(depth))
        if rng.random() < 0.25:
            mode.stop_when.pointer = "/vote"
            mode.stop_when.equals.string_value = CHOICES[0]

    def _parallel(self, made: Any, depth: int) -> None:
        rng = self._rng
        mode = made.parallel
        steps = self._steps(rng.choice((0, 1, 2, 3, 4)), depth)
        if len(steps) == 1:
            mode.map_over = "/items"
        mode.steps.extend(steps)
        mode.join = rng.randrange(5) if steps else 0
        if mode.join == QUORUM:
            mode.quorum = rng.randrange(1, 3)
        mode.failure_policy = rng.randrange(3)
        if rng.random() < 0.25:
            mode.reducer.CopyFrom(self._step(depth))
        elif steps and all(step.name for step in steps) and not mode.HasField("map_over"):
            mode.output_form = BY_NAME

    def _pipeline(self, made: Any, depth: int) -> None:
        rng = self._rng
        made.distinct_agents = False  # A panel of all items through all stages is more than there are agents.
        mode = made.pipeline
        mode.stages.extend(self._steps(rng.randrange(1, 4), depth))
        mode.open = depth == 1 and rng.random() < 0.6
        match rng.randrange(3):
            case 0:
                mode.items_pointer = "/items"
            case 1:
                for number in range(rng.randrange(1, 4)):
                    mode.items.add(data=b"item %d" % number)
        mode.barrier = rng.random() < 0.2
        mode.stage_concurrency = rng.randrange(1, 3)
        mode.buffer = rng.randrange(1, 3)
        mode.ordering = rng.randrange(3)
        mode.on_item_failure = rng.choice((0, DROP, DEAD_LETTER, DEAD_LETTER))
        if mode.on_item_failure and rng.random() < 0.3:
            mode.max_item_failures = 1

    def _consensus(self, made: Any, depth: int) -> None:
        rng = self._rng
        mode = made.consensus
        mode.voter.CopyFrom(self._work())
        mode.voters = rng.choice((2, 3, 3))
        mode.rounds = rng.choice((1, 1, 2))
        mode.weights = rng.choice((0, 1, PERFORMANCE))
        if rng.random() < 0.3:
            mode.early_decision = False
        mode.on_no_consensus = rng.randrange(5)
        if mode.on_no_consensus == JUDGE:
            mode.judge.CopyFrom(self._step(depth))
        if rng.random() < 0.15:
            mode.vote = "/score"
            mode.normalize = NUMBER
            mode.tolerance = rng.choice((0.0, 2.0))
            mode.aggregate = rng.randrange(4)
            return
        mode.vote = "/vote"
        mode.normalize = rng.randrange(4)
        mode.rule = rng.randrange(5)
        if mode.rule == SUPERMAJORITY:
            mode.supermajority = 0.6
        if rng.random() < 0.7:
            mode.choices.extend(CHOICES)

    def _competitive(self, made: Any, depth: int) -> None:
        rng = self._rng
        was_pure, self._is_pure = self._is_pure, True
        mode = made.competitive
        if rng.random() < 0.5:
            mode.candidates.append(self._work())
            mode.count = rng.randrange(2, 4)
        else:
            mode.candidates.extend(self._steps(rng.randrange(2, 4), depth))
        self._is_pure = was_pure
        mode.select = rng.randrange(4)
        if mode.select == FIRST_ACCEPTABLE:
            if rng.random() < 0.5:
                mode.accept = "output.accept"
            else:
                mode.validator.CopyFrom(self._step(depth))
        elif mode.select == BEST_OF:
            if rng.random() < 0.5:
                mode.score = "/score"
            else:
                mode.judge.CopyFrom(self._step(depth))
        mode.launch = rng.choice((0, 1, HEDGED, HEDGED, 3))
        if mode.launch == HEDGED and rng.random() < 0.8:
            mode.hedge_delay.FromMilliseconds(rng.choice((50, 300, 2_000)))


def _document(name: str, rng: Random) -> bytes:
    """An input with a list in it, for modes that go over one."""
    return json.dumps({"of": name, "items": list(range(rng.randrange(4)))}).encode()
