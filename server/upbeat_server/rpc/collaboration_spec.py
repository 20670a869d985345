"""Reads collaborations: what is common to all modes, and which reader a mode has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from upbeat_server.engine.model import Budget, Collaboration, Competitive, Consensus, Pipeline, Sequential
from upbeat_server.rpc.contest_spec import read_competitive, read_consensus
from upbeat_server.rpc.flow_spec import read_custom, read_parallel, read_pipeline, read_sequential
from upbeat_server.rpc.nest import DEPTH_MAX, Nest

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat.v1 import task_spec_pb2

    ModeReader: TypeAlias = Callable[[Any, Nest], Any]

CONCURRENCY_MAX = 1_000
CONCURRENCY_DEFAULT = 16
GRACE_MS_MAX = 3_600_000
COST_MAX = 1 << 53
COUNT_MAX = (1 << 31) - 1

_MODE_READERS: dict[str, ModeReader] = {
    "sequential": read_sequential,
    "parallel": read_parallel,
    "pipeline": read_pipeline,
    "consensus": read_consensus,
    "competitive": read_competitive,
    "custom": read_custom,
}
_NOTHING = Collaboration(Sequential(()))


def read_collaboration(message: task_spec_pb2.Collaboration, nest: Nest) -> Collaboration:
    """The collaboration; whatever it is when something of it is at fault."""
    if nest.depth > DEPTH_MAX:
        nest.faults.add(
            "spec.collaboration",
            f"is a collaboration within {nest.depth - 1} others; {DEPTH_MAX} deep is the limit: "
            "make it a task of its own, or its steps those of the one around it",
        )
        return _NOTHING
    name = message.WhichOneof("mode")
    if name is None:
        modes = ", ".join(_MODE_READERS)
        nest.faults.add("spec.collaboration", f"must have a mode: set one of {modes}")
        return _NOTHING
    mode = _MODE_READERS[name](getattr(message, name), nest)
    default = CONCURRENCY_MAX if isinstance(mode, Pipeline) else CONCURRENCY_DEFAULT
    are_distinct = isinstance(mode, Consensus | Competitive)
    return Collaboration(
        mode,
        step_timeout_ms=nest.duration(message.step_timeout, "step_timeout")
        if message.HasField("step_timeout")
        else 0,
        max_concurrency=nest.number(message, "max_concurrency", "", (1, CONCURRENCY_MAX), default),
        distinct_agents=message.distinct_agents if message.HasField("distinct_agents") else are_distinct,
        on_infeasible=nest.choice(message, "on_infeasible") or 1,
        cancel_grace_ms=_grace_ms(message, nest),
        include_partial=message.include_partial if message.HasField("include_partial") else True,
        budget=_read_budget(message.budget, nest) if message.HasField("budget") else None,
    )


def _grace_ms(message: task_spec_pb2.Collaboration, nest: Nest) -> int:
    if not message.HasField("cancel_grace"):
        return _NOTHING.cancel_grace_ms
    grace_ms = nest.duration(message.cancel_grace, "cancel_grace", zero_allowed=True)
    if grace_ms > GRACE_MS_MAX:
        nest.fault(
            "cancel_grace", "is longer than 1 hour: agents that wind up take nothing else in its place"
        )
    return grace_ms


def _read_budget(message: task_spec_pb2.Budget, nest: Nest) -> Budget | None:
    budget = Budget(
        _amount(message, "max_children", COUNT_MAX, nest),
        _amount(message, "max_attempts_total", COUNT_MAX, nest),
        _amount(message, "max_cost_micros", COST_MAX, nest),
        _amount(message, "attempt_cost_micros", COST_MAX, nest),
    )
    most, each = budget.cost_micros_max, budget.attempt_cost_micros
    if most > 0 and not each:
        nest.fault(
            "budget.attempt_cost_micros", "must be set with max_cost_micros: it is reserved for each attempt"
        )
    elif most > 0 and each > most:
        nest.fault(
            "budget.attempt_cost_micros", f"is more than max_cost_micros ({most:,}): nothing could ever run"
        )
    elif each > 0 and not most:
        nest.fault("budget.attempt_cost_micros", "has an effect with max_cost_micros only: set that, too")
    return None if budget == Budget() else budget


def _amount(message: task_spec_pb2.Budget, name: str, most: int, nest: Nest) -> int:
    amount: int = getattr(message, name)
    if not 0 <= amount <= most:
        nest.fault(f"budget.{name}", f"{amount:,} is not from 1 to {most:,}; 0 means no limit")
        return 0
    return amount
