"""From keyword arguments to the TaskSpec of the contract.

Names are those of the contract. Durations are seconds or timedelta; classes and
enums are given by their short names, in any case (`priority="high"`). The
server checks bounds; here only what cannot be expressed is refused.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from upbeat.tracing import current_traceparent
from upbeat.v1 import task_spec_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.descriptor import EnumDescriptor

    from upbeat.skill import Kind

Seconds = float | int | dt.timedelta
Priority = Literal["low", "normal", "high", "critical"]
SideEffects = Literal["idempotent", "none", "unsafe"]


@dataclass(frozen=True, slots=True)
class Retry:
    """What to do after a failed attempt; None and 0 mean the server's default."""

    max_attempts: int = 0
    initial_backoff: Seconds | None = None
    multiplier: float = 0.0
    max_backoff: Seconds | None = None
    non_retryable_reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota that all tasks of the namespace share which name its key; 0 is no limit.

    At most `max_running` of them run at once, at most `per_second` are started in a
    second. Where unfinished tasks name one key with different numbers, the smallest hold.
    """

    key: str
    max_running: int = 0
    per_second: float = 0.0


class WholeOptions(TypedDict, total=False):
    """What a task can be submitted with, be it single work or a collaboration.

    Without a `traceparent` it is that of the caller's current span, where OpenTelemetry is used.
    """

    priority: Priority
    fairness_key: str
    fairness_weight: float
    labels: Mapping[str, str]
    total_timeout: Seconds
    not_before_time: dt.datetime
    dedup_key: str
    traceparent: str


class TaskOptions(WholeOptions, total=False):
    """What a task can be submitted with; see TaskSpec of the contract.

    Of a collaboration, those that are not in `WholeOptions` belong to its steps.
    """

    required_capabilities: Sequence[str]
    selector: str
    size_hint: float
    queue_timeout: Seconds
    attempt_timeout: Seconds
    retry: Retry
    side_effects: SideEffects
    limits: Sequence[Limit]
    sticky_key: str


_PLAIN = (
    "selector",
    "fairness_key",
    "fairness_weight",
    "size_hint",
    "dedup_key",
    "traceparent",
    "sticky_key",
)
_DURATIONS = ("queue_timeout", "attempt_timeout", "total_timeout")
_KNOWN = frozenset(TaskOptions.__annotations__)


def spec_of(kind: Kind[Any, Any], value: Any, options: Mapping[str, Any]) -> task_spec_pb2.TaskSpec:
    """The spec of a task; raises CodecError for the value, TypeError or ValueError for an option."""
    spec = kind.spec()
    spec.input.CopyFrom(kind.encode_input(value))
    write_options(spec, options)
    if "traceparent" not in options:
        spec.traceparent = current_traceparent()
    return spec


def write_options(spec: task_spec_pb2.TaskSpec, options: Mapping[str, Any]) -> None:
    """Write task options into a spec; raises TypeError or ValueError."""
    unknown = options.keys() - _KNOWN
    if unknown:
        raise TypeError(
            f"unknown task option {', '.join(sorted(unknown))}; known: {', '.join(sorted(_KNOWN))}"
        )
    if not options:
        return
    for name in _PLAIN:
        if name in options:
            setattr(spec, name, options[name])
    for name in _DURATIONS:
        if options.get(name) is not None:
            getattr(spec, name).CopyFrom(duration_of(options[name], name))
    if "priority" in options:
        spec.priority = enum_of(task_spec_pb2.Priority, "PRIORITY_", options["priority"], "priority")
    if "side_effects" in options:
        spec.side_effects = enum_of(
            task_spec_pb2.SideEffects, "SIDE_EFFECTS_", options["side_effects"], "side_effects"
        )
    spec.required_capabilities.extend(options.get("required_capabilities", ()))
    spec.labels.update(options.get("labels", {}))
    for limit in options.get("limits", ()):
        _write_limit(spec, limit)
    if options.get("retry") is not None:
        spec.retry.CopyFrom(_retry(options["retry"]))
    if options.get("not_before_time") is not None:
        spec.not_before_time.CopyFrom(timestamp_of(options["not_before_time"], "not_before_time"))


def _write_limit(spec: task_spec_pb2.TaskSpec, limit: object) -> None:
    if not isinstance(limit, Limit):
        raise TypeError(f"limits has {limit!r}: Limit(key, max_running=..., per_second=...) is expected")
    try:
        spec.limits.add(key=limit.key, max_running=limit.max_running, per_second=limit.per_second)
    except ValueError as error:
        raise ValueError(f"limits has {limit!r}: {error}") from None


def _retry(retry: Retry) -> task_spec_pb2.RetryPolicy:
    policy = task_spec_pb2.RetryPolicy(
        max_attempts=retry.max_attempts,
        multiplier=retry.multiplier,
        non_retryable_reasons=retry.non_retryable_reasons,
    )
    if retry.initial_backoff is not None:
        policy.initial_backoff.CopyFrom(duration_of(retry.initial_backoff, "retry.initial_backoff"))
    if retry.max_backoff is not None:
        policy.max_backoff.CopyFrom(duration_of(retry.max_backoff, "retry.max_backoff"))
    return policy


class EnumNames:
    """The values of an enum by name, as the generated wrappers have them, out of its descriptor."""

    def __init__(self, enum: EnumDescriptor) -> None:
        self._numbers = {value.name: value.number for value in enum.values}
        self.prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
        """What the names begin with: zero is unspecified everywhere in the contract."""

    def keys(self) -> list[str]:
        """All names."""
        return list(self._numbers)

    def Value(self, name: str) -> int:  # noqa: N802 - as in protobuf
        """The number of a name."""
        return self._numbers[name]


def enum_of(enum: Any, prefix: str, name: object, option: str) -> Any:
    """The number of a short name in any case; raises TypeError or ValueError, which list the names."""
    if not isinstance(name, str):
        raise TypeError(f"{option} is {type(name).__qualname__}; a name such as {enum.keys()[1]} is expected")
    wanted = name.upper()
    for key in (wanted, prefix + wanted):
        if key in enum.keys():  # noqa: SIM118 - not a dict
            return enum.Value(key)
    known = ", ".join(key.removeprefix(prefix).lower() for key in enum.keys()[1:])
    raise ValueError(f"{option}={name!r}: one of {known} is expected")


def seconds_of(value: Seconds, option: str) -> float:
    """As a number of seconds; raises ValueError for what is negative or no number."""
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else float(value)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{option}={value!r}: not negative and finite is expected")
    return seconds


def duration_of(value: Seconds, option: str) -> Duration:
    """As the contract's Duration; raises ValueError."""
    nanos = round(seconds_of(value, option) * 1e9)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


def timestamp_of(value: dt.datetime, option: str) -> Timestamp:
    """As the contract's Timestamp; a naive datetime is refused."""
    if value.tzinfo is None:
        raise ValueError(f"{option}={value!r}: give it a time zone, e.g. datetime.now(UTC)")
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp
