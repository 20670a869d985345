"""Writes specs as messages, so that the door would read the same from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.steps import steps_of
from upbeat_server.engine.model import (
    DEFAULT_ATTEMPT_TIMEOUT_MS,
    DEFAULT_RETRY,
    CustomMode,
    Pipeline,
    SideEffects,
)
from upbeat_server.rpc.limit_spec import fill_limits
from upbeat_server.rpc.mode_writer import fill_mode
from upbeat_server.rpc.parts import fill_duration, fill_payload, fill_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat.v1 import task_spec_pb2
    from upbeat_server.engine.events import Submission
    from upbeat_server.engine.model import Collaboration, Payload, RetryPolicy, TaskSpec

LABEL_BYTES = 4
"""What a label takes more in a message than in the store."""
COLLABORATION_BYTES = 128
"""What an answer adds to a collaboration: its own defaults, which are said, and what a task has besides."""


def fill_spec(message: task_spec_pb2.TaskSpec, spec: TaskSpec, *, with_payloads: bool) -> None:
    """Write the spec of a task, its defaults resolved."""
    if with_payloads:
        fill_payload(message.input, spec.input)
        for entry in spec.context:
            fill_payload(message.context.add(name=entry.name).payload, entry.payload)
    message.priority = spec.priority  # type: ignore[assignment]
    message.fairness_key = spec.fairness_key
    message.fairness_weight = spec.fairness_weight
    message.labels.update(spec.labels)
    if spec.total_timeout_ms:
        fill_duration(message.total_timeout, spec.total_timeout_ms)
    if spec.not_before_ms:
        fill_time(message.not_before_time, spec.not_before_ms)
    message.dedup_key = spec.dedup_key
    message.traceparent = spec.traceparent
    if spec.name:
        message.name = spec.name
    if spec.collaboration is not None:
        fill_collaboration(message.collaboration, spec.collaboration, with_payloads=with_payloads)
        return
    _fill_work(message, spec)
    fill_duration(message.attempt_timeout, spec.attempt_timeout_ms)
    _fill_retry(message.retry, spec.retry)
    message.side_effects = SideEffects(spec.side_effects)  # type: ignore[assignment]


def repeated_bytes(submission: Submission) -> int:
    """About what the answer to the submission of a collaboration repeats of it; 0 for work.

    Its bytes as they are stored are no fewer than those of its message, but for labels.
    """
    spec = submission.spec
    if spec.collaboration is None:
        return 0
    size = len(submission.spec_bytes) + COLLABORATION_BYTES
    for part in (spec, *steps_of(spec)):
        size += LABEL_BYTES * len(part.labels) - sum(len(payload.data) for payload in _payloads(part))
    return size


def _payloads(spec: TaskSpec) -> Iterator[Payload]:
    yield spec.input
    mode = None if spec.collaboration is None else spec.collaboration.mode
    if isinstance(mode, Pipeline):
        yield from mode.items
    elif isinstance(mode, CustomMode):
        yield mode.params


def fill_collaboration(
    message: task_spec_pb2.Collaboration, collaboration: Collaboration, *, with_payloads: bool
) -> None:
    """Write a collaboration, its own defaults resolved. In its steps what has its default is left unset:
    there may be a thousand of them, and most say little.
    """

    def fill_step(step_message: task_spec_pb2.TaskSpec, step: TaskSpec) -> None:
        _fill_step(step_message, step, with_payloads=with_payloads)

    fill_mode(message, collaboration.mode, fill_step, with_payloads=with_payloads)
    if collaboration.step_timeout_ms:
        fill_duration(message.step_timeout, collaboration.step_timeout_ms)
    message.max_concurrency = collaboration.max_concurrency
    message.distinct_agents = collaboration.distinct_agents
    message.on_infeasible = collaboration.on_infeasible  # type: ignore[assignment]
    fill_duration(message.cancel_grace, collaboration.cancel_grace_ms)
    message.include_partial = collaboration.include_partial
    budget = collaboration.budget
    if budget is not None:
        message.budget.max_children = budget.children_max
        message.budget.max_attempts_total = budget.attempts_max
        message.budget.max_cost_micros = budget.cost_micros_max
        message.budget.attempt_cost_micros = budget.attempt_cost_micros


def _fill_step(message: task_spec_pb2.TaskSpec, step: TaskSpec, *, with_payloads: bool) -> None:
    message.SetInParent()
    if with_payloads and (step.input.data or step.input.content_type):
        fill_payload(message.input, step.input)
    message.name = step.name
    if step.labels:
        message.labels.update(step.labels)
    if step.total_timeout_ms:
        fill_duration(message.total_timeout, step.total_timeout_ms)
    if step.collaboration is not None:
        fill_collaboration(message.collaboration, step.collaboration, with_payloads=with_payloads)
        return
    _fill_work(message, step)
    if step.attempt_timeout_ms != DEFAULT_ATTEMPT_TIMEOUT_MS:
        fill_duration(message.attempt_timeout, step.attempt_timeout_ms)
    if step.retry != DEFAULT_RETRY:
        _fill_retry(message.retry, step.retry)
    if step.side_effects != SideEffects.IDEMPOTENT:
        message.side_effects = step.side_effects  # type: ignore[assignment]


def _fill_work(message: task_spec_pb2.TaskSpec, spec: TaskSpec) -> None:
    """What only work has, and what has no default but nothing."""
    message.type = spec.type
    message.required_capabilities.extend(spec.required_capabilities)
    message.selector = spec.selector
    message.size_hint = spec.size_hint
    message.sticky_key = spec.sticky_key
    if spec.queue_timeout_ms:
        fill_duration(message.queue_timeout, spec.queue_timeout_ms)
    if spec.limits:
        fill_limits(message, spec.limits)


def _fill_retry(message: task_spec_pb2.RetryPolicy, retry: RetryPolicy) -> None:
    message.max_attempts = retry.max_attempts
    fill_duration(message.initial_backoff, retry.initial_backoff_ms)
    message.multiplier = retry.multiplier
    fill_duration(message.max_backoff, retry.max_backoff_ms)
    message.non_retryable_reasons.extend(retry.non_retryable_reasons)
