"""What readers of collaborations read with: the place where they are, and checks that name it.

A path here begins at the collaboration (``consensus.voters``); the place knows what
stands before it. What is at fault gives a value all the same, so that reading goes
on to the next fault; nobody uses it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from upbeat_server.engine import reasons
from upbeat_server.engine.model import NO_PAYLOAD, TaskSpec
from upbeat_server.rpc.faults import SPEC, FaultsWithin
from upbeat_server.rpc.values import pointer_fault, read_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.descriptor import Descriptor, EnumDescriptor
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message

    from upbeat.v1 import payload_pb2, task_spec_pb2
    from upbeat_server.engine.collaboration.mode import Mode
    from upbeat_server.engine.model import Payload
    from upbeat_server.rpc.faults import Faults

DEPTH_MAX = 4
STEPS_MAX = 1_000
"""Steps of a spec at all levels together."""
CONDITIONS_MAX = 32
"""Different selectors and checks of a spec: to compile one takes a millisecond, and everybody waits."""
TOO_MANY_CONDITIONS = (
    f"is one of more than {CONDITIONS_MAX} different selectors and checks of this task: "
    "use fewer, or submit several tasks"
)
LIVE_MAX = 1_000
"""Descendants of one task that can be live at once."""


class Specs(Protocol):
    """Who reads the specs of steps, and their payloads."""

    modes: Mapping[str, Mode]

    def read_step(
        self, message: task_spec_pb2.TaskSpec, faults: FaultsWithin, extent: Extent, depth: int
    ) -> TaskSpec:
        """A spec within collaborations, so many deep."""

    def read_content(self, value: payload_pb2.Payload, field: str, faults: Faults) -> Payload:
        """A payload that is handed to an agent."""


class Extent:
    """What one whole spec has come to so far."""

    def __init__(self) -> None:
        self.steps = 0
        self._conditions: set[str] = set()
        self.repeated_bytes = 0  # What repeating candidates adds to the bytes of the message.

    def has_room_for(self, condition: str) -> bool:
        """Whether a condition may still be compiled; one that was seen before costs nothing."""
        conditions = self._conditions
        if condition and condition not in conditions:
            if len(conditions) >= CONDITIONS_MAX:
                return False
            conditions.add(condition)
        return True


class Nest:
    """One collaboration that is being read, ``depth`` deep: 1 is the outermost."""

    def __init__(self, specs: Specs, faults: Faults, extent: Extent, depth: int) -> None:
        self.faults = faults
        self.extent = extent
        self.depth = depth
        self.modes = specs.modes
        self._specs = specs
        self._names: set[str] = set()

    def fault(self, at: str, words: str, reason: str = reasons.INVALID_FIELD) -> None:
        """Something here is at fault."""
        self.faults.add(f"{SPEC}.collaboration.{at}", words, reason)

    def step(self, message: task_spec_pb2.TaskSpec, at: str) -> TaskSpec:
        """The spec of a step."""
        extent = self.extent
        extent.steps += 1
        if extent.steps > STEPS_MAX:  # Told once, for the whole spec.
            return TaskSpec("")
        if not extent.has_room_for(message.selector):
            self.fault(f"{at}.selector", TOO_MANY_CONDITIONS)
            return TaskSpec("")
        faults = FaultsWithin(self.faults, f"{SPEC}.collaboration.{at}")
        step = self._specs.read_step(message, faults, extent, self.depth)
        if message.name:
            if message.name in self._names:
                self.fault(f"{at}.name", "is the name of another step of this collaboration: use each once")
            self._names.add(message.name)
        return step

    def steps(
        self, messages: Sequence[task_spec_pb2.TaskSpec], at: str, fewest: int, most: int
    ) -> tuple[TaskSpec, ...]:
        """The specs of a list of steps, within its bounds."""
        if not fewest <= len(messages) <= most:
            self.fault(at, f"has {len(messages):,} entries; {fewest} to {most:,} are allowed")
            return ()
        return tuple(self.step(message, f"{at}[{number}]") for number, message in enumerate(messages))

    def optional_step(self, mode: Any, name: str, at: str) -> TaskSpec | None:
        """The spec of a step that a mode may have in this field."""
        return self.step(getattr(mode, name), f"{at}.{name}") if mode.HasField(name) else None

    def choice(self, message: Any, name: str, at: str = "") -> int:
        """The number of a choice; 0 for the unspecified one."""
        number: int = getattr(message, name)
        kind = _enum_of(message.DESCRIPTOR, name)
        if number not in kind.values_by_number:
            self.fault(f"{at}{name}", f"{number} is no {kind.name}: use {_names_of(kind)}")
            return 0
        return number

    def number(self, message: Any, name: str, at: str, bounds: tuple[int, int], default: int) -> int:
        """A whole number within its bounds; 0 is the default."""
        value: int = getattr(message, name)
        least, most = bounds
        if value and not least <= value <= most:
            self.fault(f"{at}{name}", f"{value:,} is not from {least:,} to {most:,}; 0 means {default:,}")
            return default
        return value or default

    def finite(self, value: float, at: str) -> float:
        """A number that is one."""
        if not math.isfinite(value):
            self.fault(at, "must be a finite number")
            return 0.0
        return value

    def pointer(self, text: str, at: str) -> str:
        """A JSON pointer."""
        words = pointer_fault(text)
        if words:
            self.fault(at, words)
        return text

    def payload(self, message: payload_pb2.Payload, at: str) -> Payload:
        """A payload that is handed to an agent or a mode."""
        return self._specs.read_content(message, f"{SPEC}.collaboration.{at}", self.faults)

    def optional_payload(self, mode: Any, name: str, at: str) -> Payload:
        """A payload that a mode may have in this field."""
        return self.payload(getattr(mode, name), f"{at}.{name}") if mode.HasField(name) else NO_PAYLOAD

    def duration(self, value: Duration, at: str, *, zero_allowed: bool = False) -> int:
        """Whole milliseconds."""
        return read_duration(value, f"{SPEC}.collaboration.{at}", self.faults, zero_allowed=zero_allowed)

    def without_effect(self, mode: Message, at: str, names: Sequence[str], remedy: str) -> None:
        """Refuse fields that say nothing as things are; ``remedy`` is the choice that they belong to."""
        for field, _ in mode.ListFields():
            if field.name in names:
                self.fault(
                    f"{at}.{field.name}", f"has an effect with {remedy} only: set that or leave it unset"
                )


@cache
def _enum_of(message: Descriptor, name: str) -> EnumDescriptor:
    kind = message.fields_by_name[name].enum_type
    if kind is None:
        raise TypeError(f"{message.full_name}.{name} is no choice")
    return kind


@cache
def _names_of(kind: EnumDescriptor) -> str:
    """The choices as callers write them: ``FAIL (1), SKIP (2)``."""
    values = [value for value in kind.values if value.number]
    unspecified = kind.values_by_number[0].name
    prefix = unspecified.removesuffix("UNSPECIFIED") if unspecified.endswith("UNSPECIFIED") else ""
    return ", ".join(f"{value.name.removeprefix(prefix)} ({value.number})" for value in values)
