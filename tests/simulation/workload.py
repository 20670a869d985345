"""What is submitted in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.quotas import Limiter
from tests.simulation.teamwork import TYPES, Teamwork
from upbeat.v1 import task_spec_pb2

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.mix import Mix

pb: Any = task_spec_pb2
Order = tuple[float, str, task_spec_pb2.TaskSpec]


def specs_of(mix: Mix) -> list[list[Order]]:
    """For each submitter: after how many seconds, under which request_id, what."""
    rng = mix.rng("workload")
    if mix.is_fair:
        return _flood_and_trickle(mix, rng)
    submitters = rng.choice((1, 2, 3))
    pause_s = mix.duration_s / mix.tasks * submitters * rng.choice((0.05, 0.5, 0.9))
    orders: list[list[Order]] = [[] for _ in range(submitters)]
    own, hedges = mix.rng("collaborations"), mix.rng("hedged work")
    limiter = Limiter(mix, "quotas")
    teamwork = Teamwork(mix, own, Limiter(mix, "quotas of steps"))
    for number in range(mix.tasks):
        spec = _spec(mix, rng, number)
        if mix.is_hedged and hedges.random() < 0.7:
            spec.side_effects = pb.SIDE_EFFECTS_NONE
            spec.retry.max_attempts = max(2, spec.retry.max_attempts)
        if own.random() < mix.strength("collaborations"):
            spec = teamwork.instead_of(spec, number)
        else:
            limiter.limit(spec)
        orders[number % submitters].append((rng.random() * 2 * pause_s, f"r{number}", spec))
    return orders


def _spec(mix: Mix, rng: Random, number: int) -> task_spec_pb2.TaskSpec:
    spec = pb.TaskSpec(type=rng.choice(TYPES))
    spec.input.data = f"input of r{number}".encode()
    spec.priority = rng.choice((0, 1, 2, 2, 3, 4))
    spec.fairness_key = rng.choice(("", "", "k1", "k2"))
    spec.side_effects = rng.choice((0, 1, 1, 2, 3))
    if rng.random() < 0.2:
        spec.required_capabilities.append("gpu")
    if rng.random() < 0.2:
        spec.selector = "'zone' in labels && labels['zone'] == 'a'"
    if rng.random() < 0.1:
        spec.dedup_key = rng.choice(("d1", "d2"))
    spec.retry.max_attempts = rng.choice((1, 2, 4))
    spec.retry.initial_backoff.FromMilliseconds(rng.choice((10, 1_000, 5_000)))
    if rng.random() < 0.3:
        spec.retry.non_retryable_reasons.append("FATAL")
    if mix.has("timeouts"):
        _add_timeouts(spec, rng)
    return spec  # type: ignore[no-any-return]


def _add_timeouts(spec: Any, rng: Random) -> None:
    if rng.random() < 0.5:
        spec.attempt_timeout.FromMilliseconds(rng.choice((300, 2_000, 20_000)))
    if rng.random() < 0.3:
        spec.queue_timeout.FromMilliseconds(rng.choice((500, 5_000)))
    if rng.random() < 0.3:
        spec.total_timeout.FromMilliseconds(rng.choice((1_000, 20_000)))


def _flood_and_trickle(mix: Mix, rng: Random) -> list[list[Order]]:
    """One key floods the queue, another comes later and again; one requirement, one class."""
    flood: list[Order] = []
    trickle: list[Order] = []
    late_s = rng.uniform(5.0, 15.0)
    for number in range(mix.tasks):
        is_late = number % 3 == 2
        spec = pb.TaskSpec(type=TYPES[0], fairness_key="late" if is_late else "flood")
        spec.input.data = f"input of r{number}".encode()
        spec.retry.max_attempts = 4
        if is_late:
            trickle.append((late_s if not trickle else rng.choice((0.0, 0.01, 0.2)), f"r{number}", spec))
        else:
            flood.append((rng.random() * 0.02, f"r{number}", spec))
    return [flood, trickle]
