"""Reads task specs: every bad field at once, with its limit and what to do about it.

A spec stands by itself or is a step of a collaboration, and is work or a
collaboration in turn; which of its fields may be set depends on that, so each of
the four has a table of readers. A reader names its field ``spec.x`` wherever the
spec stands (``FaultsWithin`` knows the place).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from upbeat.v1 import task_spec_pb2
from upbeat_server.engine import reasons
from upbeat_server.engine.collaboration.width import live_max
from upbeat_server.engine.model import DEFAULT_RETRY, RetryPolicy, TaskSpec
from upbeat_server.rpc.collaboration_spec import read_collaboration
from upbeat_server.rpc.faults import FaultsWithin, is_ascii, is_plain, is_reason, is_type, read_labels
from upbeat_server.rpc.limit_spec import read_limits
from upbeat_server.rpc.nest import LIVE_MAX, STEPS_MAX, Extent, Nest
from upbeat_server.rpc.values import read_content, read_duration, read_time
from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.selector import compile_selector

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    from upbeat.v1 import payload_pb2
    from upbeat_server.engine.collaboration.mode import Mode
    from upbeat_server.engine.model import Payload
    from upbeat_server.rpc.faults import Faults

CAPABILITIES_MAX = 16
ATTEMPTS_MAX = 100
REASONS_MAX = 32
COLLABORATION_BYTES_MAX = 2 << 20
"""A spec with all its steps; so that a task, which repeats its spec, can be answered."""

Draft: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Any, Draft, "Faults"], None]
Readers: TypeAlias = "dict[FieldDescriptor, Reader]"


class SpecReader:
    """Reads specs under the limits of this server."""

    def __init__(self, input_bytes_max: int, modes: Mapping[str, Mode]) -> None:
        self._input_bytes_max = input_bytes_max
        self.modes = modes
        work = {**_READERS, 2: self._read_input}
        step = work | _REFUSED_IN_STEPS | {20: _read_name}
        self._work = _by_field(work)
        self._collaboration = _by_field(work | _REFUSED_IN_COLLABORATIONS)
        self._step = _by_field(step)
        self._nested_collaboration = _by_field(step | _REFUSED_IN_COLLABORATIONS)

    def read(self, message: task_spec_pb2.TaskSpec, faults: Faults) -> TaskSpec | None:
        """The spec; None when ``faults`` has any."""
        if message.HasField("collaboration"):
            return self._read_whole(message, faults)
        draft = _draft(message, self._work, faults)
        if not draft["type"]:
            faults.add("spec.type", "must be set: it says what is to be done; or set collaboration")
        return None if faults else _finished(draft)

    def read_step(
        self, message: task_spec_pb2.TaskSpec, faults: FaultsWithin, extent: Extent, depth: int
    ) -> TaskSpec:
        """A spec within collaborations, so many deep; whatever it is when ``faults`` has any."""
        if message.HasField("collaboration"):
            draft = _draft(message, self._nested_collaboration, faults)
            nest = Nest(self, faults, extent, depth + 1)
            draft["collaboration"] = read_collaboration(message.collaboration, nest)
        else:
            draft = _draft(message, self._step, faults)
            if not draft["type"]:
                faults.add("spec.type", "must be set: it says what is to be done; or set collaboration")
        return _finished(draft)

    def read_content(self, value: payload_pb2.Payload, field: str, faults: Faults) -> Payload:
        """A payload that is handed to an agent."""
        return read_content(value, field, faults, self._input_bytes_max)

    def _read_whole(self, message: task_spec_pb2.TaskSpec, faults: Faults) -> TaskSpec | None:
        """A spec that is a collaboration, and the bounds of all that is in it together."""
        draft = _draft(message, self._collaboration, faults)
        extent = Extent()
        draft["collaboration"] = read_collaboration(message.collaboration, Nest(self, faults, extent, 1))
        if extent.steps > STEPS_MAX:
            faults.add(
                "spec.collaboration",
                f"has more than {STEPS_MAX:,} steps in all, what a repeated candidate holds counted each "
                "time: submit several tasks",
            )
        size_fault = collaboration_size_fault(message.ByteSize() + extent.repeated_bytes)
        if size_fault:
            faults.add("spec.collaboration", size_fault, reasons.TASK_TOO_LARGE)
        if faults:
            return None
        spec = _finished(draft)
        live = live_max(spec, self.modes)
        if live > LIVE_MAX:
            faults.add(
                "spec.collaboration.max_concurrency",
                f"as it is, up to {live:,} tasks can be live at once; the limit is {LIVE_MAX:,}: "
                "lower it here or in the collaborations among the steps",
            )
        return None if faults else spec

    def _read_input(self, value: payload_pb2.Payload, draft: Draft, faults: Faults) -> None:
        draft["input"] = self.read_content(value, "spec.input", faults)


def collaboration_size_fault(size: int) -> str:
    """What is wrong with a collaboration of so many bytes, all its steps included; or ""."""
    if size <= COLLABORATION_BYTES_MAX:
        return ""
    return (
        f"has {size:,} bytes, a repeated candidate counted each time; the limit is "
        f"{COLLABORATION_BYTES_MAX:,}: store payloads elsewhere and submit references"
    )


def _by_field(readers: Mapping[int, Reader]) -> Readers:
    """The readers by what ``ListFields`` gives: a number is asked for by a call each time."""
    fields = task_spec_pb2.TaskSpec.DESCRIPTOR.fields_by_number
    return {fields[number]: reader for number, reader in readers.items()}


def _draft(message: task_spec_pb2.TaskSpec, readers: Readers, faults: Faults) -> Draft:
    draft: Draft = {"type": ""}
    for field, value in message.ListFields():
        readers[field](value, draft, faults)
    return draft


def _finished(draft: Draft) -> TaskSpec:
    required = draft.get("required_capabilities")
    if required:
        draft["required_capabilities"] = tuple(sorted(set(required) - {draft["type"]}))
    return TaskSpec(**draft)


def _read_type(value: str, draft: Draft, faults: Faults) -> None:
    if not is_type(value):
        faults.add(
            "spec.type",
            "must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or digit, without '..'",
        )
    draft["type"] = value


def _read_priority(value: int, draft: Draft, faults: Faults) -> None:
    if not 1 <= value <= 4:
        names = "LOW (1), NORMAL (2), HIGH (3), CRITICAL (4)"
        faults.add("spec.priority", f"{value} is no Priority: use {names}")
    draft["priority"] = value


def _read_required(value: Any, draft: Draft, faults: Faults) -> None:
    if len(value) > CAPABILITIES_MAX:
        faults.add(
            "spec.required_capabilities", f"has {len(value):,} entries; the limit is {CAPABILITIES_MAX}"
        )
        return
    for number, capability in enumerate(value):
        if not is_type(capability):
            faults.add(
                f"spec.required_capabilities[{number}]",
                "must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or digit",
            )
    draft["required_capabilities"] = tuple(value)


def _read_selector(value: str, draft: Draft, faults: Faults) -> None:
    try:
        compile_selector(value)
    except Refused as error:
        faults.add_refusal(error.refusal)
    draft["selector"] = value


def _key_reader(name: str) -> Reader:
    field = f"spec.{name}"

    def read(value: str, draft: Draft, faults: Faults) -> None:
        if len(value) > 128 or not value.isprintable():
            faults.add(field, "must be at most 128 characters without control characters")
        draft[name] = value

    return read


def _read_fairness_weight(value: float, draft: Draft, faults: Faults) -> None:
    if not 0.01 <= value <= 1_000:  # Not a number fails, too.
        faults.add("spec.fairness_weight", "must be from 0.01 to 1,000; 0 means 1")
    draft["fairness_weight"] = value


def _read_labels(value: Any, draft: Draft, faults: Faults) -> None:
    draft["labels"] = read_labels(value, "spec.labels", faults)


def _read_size_hint(value: float, draft: Draft, faults: Faults) -> None:
    if not (math.isfinite(value) and value >= 0):
        faults.add("spec.size_hint", "must be a finite number that is not negative; 0 means unknown")
    draft["size_hint"] = value


def _timeout_reader(name: str) -> Reader:
    field, key = f"spec.{name}", f"{name}_ms"

    def read(value: Duration, draft: Draft, faults: Faults) -> None:
        draft[key] = read_duration(value, field, faults)

    return read


def _read_not_before(value: Timestamp, draft: Draft, faults: Faults) -> None:
    draft["not_before_ms"] = read_time(value, "spec.not_before_time", faults)


def _read_side_effects(value: int, draft: Draft, faults: Faults) -> None:
    if not 1 <= value <= 3:
        faults.add(
            "spec.side_effects", f"{value} is no SideEffects: use IDEMPOTENT (1), NONE (2), UNSAFE (3)"
        )
    draft["side_effects"] = value


def _read_dedup_key(value: str, draft: Draft, faults: Faults) -> None:
    if not is_plain(value, 255):
        faults.add("spec.dedup_key", "must be at most 255 bytes without control characters")
    draft["dedup_key"] = value


def _read_traceparent(value: str, draft: Draft, faults: Faults) -> None:
    if not is_ascii(value, 255):
        faults.add("spec.traceparent", "must be at most 255 printable ASCII characters")
    draft["traceparent"] = value


def _read_name(value: str, draft: Draft, faults: Faults) -> None:
    if not is_reason(value):
        faults.add("spec.name", "must be 1 to 63 characters of [A-Za-z0-9_.-]")
    draft["name"] = value


def _skip(_value: object, _draft: Draft, _faults: Faults) -> None:
    """Read apart: a collaboration needs to know where it stands."""


def _refusing(name: str, words: str) -> Reader:
    field = f"spec.{name}"

    def read(_value: object, _draft: Draft, faults: Faults) -> None:
        faults.add(field, words)

    return read


def _read_retry(value: task_spec_pb2.RetryPolicy, draft: Draft, faults: Faults) -> None:
    default = DEFAULT_RETRY
    attempts = value.max_attempts
    if not 0 <= attempts <= ATTEMPTS_MAX:
        faults.add("spec.retry.max_attempts", f"must be from 1 to {ATTEMPTS_MAX}; 0 means 3")
    multiplier = value.multiplier
    if multiplier and not 1 <= multiplier <= 10:
        faults.add("spec.retry.multiplier", "must be from 1 to 10; 0 means 2")
    first_ms, last_ms = default.initial_backoff_ms, default.max_backoff_ms
    if value.HasField("initial_backoff"):
        field = "spec.retry.initial_backoff"
        first_ms = read_duration(value.initial_backoff, field, faults, zero_allowed=True)
    if value.HasField("max_backoff"):
        field = "spec.retry.max_backoff"
        last_ms = read_duration(value.max_backoff, field, faults, zero_allowed=True)
        if last_ms < first_ms and value.HasField("initial_backoff"):
            faults.add(field, "is shorter than initial_backoff")
    reasons_given = value.non_retryable_reasons
    if len(reasons_given) > REASONS_MAX:
        faults.add(
            "spec.retry.non_retryable_reasons",
            f"has {len(reasons_given):,} entries; the limit is {REASONS_MAX}",
        )
    elif not all(is_reason(reason) for reason in reasons_given):
        faults.add("spec.retry.non_retryable_reasons", "each must be 1 to 63 characters of [A-Za-z0-9_.-]")
    draft["retry"] = RetryPolicy(
        attempts or default.max_attempts,
        first_ms,
        multiplier or default.multiplier,
        last_ms,
        tuple(sorted(set(reasons_given))),
    )


_READERS: dict[int, Reader] = {  # By field number of TaskSpec.
    1: _read_type,
    3: _read_priority,
    4: _read_required,
    5: _read_selector,
    6: _key_reader("fairness_key"),
    7: _read_fairness_weight,
    8: _read_labels,
    9: _read_size_hint,
    10: _timeout_reader("queue_timeout"),
    11: _timeout_reader("attempt_timeout"),
    12: _timeout_reader("total_timeout"),
    13: _read_retry,
    14: _read_not_before,
    15: _read_side_effects,
    16: _read_dedup_key,
    17: read_limits,
    18: _read_traceparent,
    19: _skip,
    20: _refusing("name", "is for steps of a collaboration: leave it unset"),
    21: _refusing("context", "is set by the server: leave it unset"),
    22: _key_reader("sticky_key"),
}
_INHERITED = "is inherited from the collaboration: leave it unset"
_REFUSED_IN_STEPS: dict[int, Reader] = {
    number: _refusing(name, _INHERITED)
    for number, name in (
        (3, "priority"),
        (6, "fairness_key"),
        (7, "fairness_weight"),
        (14, "not_before_time"),
        (16, "dedup_key"),
        (18, "traceparent"),
    )
}
_OF_STEPS = "does not apply to a collaboration: set it in its steps"
_REFUSED_IN_COLLABORATIONS: dict[int, Reader] = {
    1: _refusing("type", "cannot be set beside collaboration, a spec is either: set it in its steps"),
    **{
        number: _refusing(name, _OF_STEPS)
        for number, name in (
            (4, "required_capabilities"),
            (5, "selector"),
            (9, "size_hint"),
            (10, "queue_timeout"),
            (11, "attempt_timeout"),
            (13, "retry"),
            (15, "side_effects"),
            (17, "limits"),
            (22, "sticky_key"),
        )
    },
}
