"""Reads and writes the limits of a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upbeat_server.engine.model import Limit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat.v1 import task_spec_pb2
    from upbeat_server.rpc.faults import Faults

LIMITS_MAX = 8
KEY_CHARS_MAX = 128
RUNNING_MAX = 1_000_000
RATE_MIN, RATE_MAX = 0.001, 1_000_000.0


def read_limits(value: Any, draft: dict[str, Any], faults: Faults) -> None:
    """Read ``limits`` into a draft, in the order of their keys."""
    if len(value) > LIMITS_MAX:
        faults.add("spec.limits", f"has {len(value):,} entries; the limit is {LIMITS_MAX}")
        return
    found: dict[str, Limit] = {}
    for number, limit in enumerate(value):
        field = f"spec.limits[{number}]"
        _check(limit, field, faults)
        if limit.key in found:
            faults.add(f"{field}.key", "is there twice: give each key once, with both numbers")
        found[limit.key] = Limit(limit.key, limit.max_running, limit.per_second)
    draft["limits"] = tuple(found[key] for key in sorted(found))


def _check(limit: task_spec_pb2.Limit, field: str, faults: Faults) -> None:
    key, most, rate = limit.key, limit.max_running, limit.per_second
    if not 0 < len(key) <= KEY_CHARS_MAX or not key.isprintable():
        faults.add(f"{field}.key", f"must be 1 to {KEY_CHARS_MAX} characters without control characters")
    if not 0 <= most <= RUNNING_MAX:
        faults.add(f"{field}.max_running", f"must be from 1 to {RUNNING_MAX:,}; 0 means no limit")
    if rate and not RATE_MIN <= rate <= RATE_MAX:  # Not a number fails, too.
        faults.add(f"{field}.per_second", f"must be from {RATE_MIN:g} to {RATE_MAX:,.0f}; 0 means no limit")
    if not most and not rate:
        faults.add(field, "limits nothing: set max_running, per_second or both")


def fill_limits(message: task_spec_pb2.TaskSpec, limits: Iterable[Limit]) -> None:
    """Write limits as they were read."""
    for limit in limits:
        message.limits.add(key=limit.key, max_running=limit.max_running, per_second=limit.per_second)
