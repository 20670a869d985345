"""What callers submit: kinds of work, by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from upbeat.v1 import task_spec_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable

PAYLOAD_BYTES = 256
ZONES = 5
"""Agents and selectors of varied work name one of so many."""
FAIRNESS_KEYS = 100
VOTERS = 5
STAGES = 3
PIPELINE_ITEMS_MIN, PIPELINE_SIZES = 20, 161
STAMP_BYTES = 8


@dataclass(frozen=True)
class Work:
    """A kind of work: the spec of the n-th task, and for how much its end counts (1 if unset)."""

    spec: Callable[[int], wire.TaskSpec]
    counts: Callable[[int], int] | None = None


def echo_spec(kind: str = "echo") -> wire.TaskSpec:
    """A task whose output is its input."""
    spec = wire.TaskSpec(type=kind)
    spec.input.data = b"x" * PAYLOAD_BYTES
    return spec


def varied_spec(number: int) -> wire.TaskSpec:
    """Every task has labels and one of many fairness keys, every other one a selector."""
    spec = echo_spec()
    spec.fairness_key = f"key-{number % FAIRNESS_KEYS}"
    spec.labels["team"] = f"team-{number % 20}"
    spec.labels["purpose"] = "bench"
    if number % 2:
        spec.selector = f'labels.zone == "zone-{number // 2 % ZONES}"'
    return spec


def consensus_spec() -> wire.TaskSpec:
    """Voters that all say the same, each by echoing what it is asked."""
    spec = wire.TaskSpec()
    spec.input.data = b"x" * PAYLOAD_BYTES
    consensus = spec.collaboration.consensus
    consensus.voters = VOTERS
    consensus.voter.type = "echo"
    return spec


def pipeline_items(number: int) -> int:
    """Items of the n-th pipeline, 100 on average: pipelines of the same size would all end together."""
    return PIPELINE_ITEMS_MIN + number * 37 % PIPELINE_SIZES


@cache
def pipeline_spec(items: int) -> wire.TaskSpec:
    """Items through stages that echo them."""
    spec = wire.TaskSpec()
    pipeline = spec.collaboration.pipeline
    for _ in range(STAGES):
        pipeline.stages.add(type="echo")
    for _ in range(items):
        pipeline.items.add(data=b"x" * PAYLOAD_BYTES)
    return spec


def stamped(spec: wire.TaskSpec, at_ns: int) -> wire.TaskSpec:
    """The spec with a time of the machine's monotonic clock in front of its input."""
    spec.input.data = at_ns.to_bytes(STAMP_BYTES, "little") + bytes(PAYLOAD_BYTES - STAMP_BYTES)
    return spec


def stamp_of(content: bytes) -> int:
    """The time in front of an input, in ns."""
    return int.from_bytes(content[:STAMP_BYTES], "little")


def same(spec: wire.TaskSpec) -> Callable[[int], wire.TaskSpec]:
    """The same spec for every task."""
    return lambda _: spec


def urgent_spec() -> wire.TaskSpec:
    """A task that goes before whatever waits with the usual priority."""
    spec = echo_spec()
    spec.priority = wire.PRIORITY_HIGH
    return spec


VARIETY = [varied_spec(number) for number in range(FAIRNESS_KEYS * 2)]

WORKS = {
    "plain": Work(same(echo_spec())),
    "urgent": Work(same(urgent_spec())),
    "varied": Work(lambda number: VARIETY[number % len(VARIETY)]),
    "consensus": Work(same(consensus_spec())),
    "pipeline": Work(lambda number: pipeline_spec(pipeline_items(number)), counts=pipeline_items),
}
