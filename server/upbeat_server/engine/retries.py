"""When a failed attempt is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.model import SideEffects

if TYPE_CHECKING:
    from upbeat_server.engine.entropy import Entropy
    from upbeat_server.engine.model import Error, RetryPolicy, TaskRecord, TaskSpec


DOUBLINGS_MAX = 64
"""Failures after which the wait grows no more, whatever the policy says."""


def may_retry(spec: TaskSpec, record: TaskRecord, error: Error) -> bool:
    """Whether another attempt is allowed after ``record.failures`` charged ones.

    UNSAFE work is never tried again: its agent may have acted. ``non_retryable`` of the
    error wins over the policy when it is True.
    """
    if spec.side_effects == SideEffects.UNSAFE or error.non_retryable:
        return False
    if error.reason == reasons.ABSTAINED:
        return False
    if error.reason in spec.retry.non_retryable_reasons:
        return False
    return record.failures < spec.retry.max_attempts


def backoff_ms(policy: RetryPolicy, failures: int, entropy: Entropy) -> int:
    """Wait before the next attempt, drawn evenly from the upper half of the computed one.

    ``failures`` counts from 1. The half that is never given up keeps a storm of retries
    from arriving at once at an agent that just failed.
    """
    computed = float(min(policy.initial_backoff_ms, policy.max_backoff_ms))
    for _ in range(min(failures - 1, DOUBLINGS_MAX)):
        if not 0 < computed < policy.max_backoff_ms:
            break
        computed = min(computed * policy.multiplier, policy.max_backoff_ms)
    return round(computed * (0.5 + 0.5 * entropy.uniform()))
