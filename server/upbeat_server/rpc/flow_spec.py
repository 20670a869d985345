"""Reads the modes in which work flows: sequential, parallel, pipeline, and those of somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from upbeat_server.engine.model import CustomMode, Parallel, Pipeline, Sequential, StopWhen
from upbeat_server.rpc.nest import STEPS_MAX
from upbeat_server.rpc.values import read_json

if TYPE_CHECKING:
    from upbeat.v1 import task_spec_pb2
    from upbeat_server.engine.model import Payload
    from upbeat_server.rpc.nest import Nest

log = structlog.get_logger("upbeat.rpc")

SEQUENTIAL_STEPS_MAX = 100
STAGES_MAX = 32
ITEMS_MAX = 10_000
CONCURRENCY_MAX = 1_000
EQUALS_BYTES_MAX = 4_096
FALLBACK, FAIL, QUORUM, BY_NAME = 3, 1, 2, 2


def read_sequential(message: task_spec_pb2.Sequential, nest: Nest) -> Sequential:
    """Steps one after the other."""
    on_failure = nest.choice(message, "on_step_failure", "sequential.") or 1
    steps = nest.steps(message.steps, "sequential.steps", 1, SEQUENTIAL_STEPS_MAX)
    if on_failure != FALLBACK:
        nest.without_effect(message, "sequential", ("fallback",), "on_step_failure FALLBACK")
    elif not message.HasField("fallback"):
        nest.fault("sequential.fallback", "must be set with on_step_failure FALLBACK: it is what is run then")
    return Sequential(
        steps,
        nest.choice(message, "context", "sequential.") or 2,
        on_failure,
        nest.optional_step(message, "fallback", "sequential"),
        _read_stop_when(message.stop_when, nest) if message.HasField("stop_when") else None,
    )


def _read_stop_when(message: task_spec_pb2.StopWhen, nest: Nest) -> StopWhen:
    pointer = nest.pointer(message.pointer, "sequential.stop_when.pointer")
    equals = b"null"
    at = "sequential.stop_when.equals"
    if not message.HasField("equals"):
        nest.fault(at, "must be set: it is the JSON value that ends the collaboration early, null included")
        return StopWhen(pointer)
    try:
        equals = read_json(message.equals)
    except ValueError as error:
        nest.fault(at, f"is not JSON: {error}")
    if len(equals) > EQUALS_BYTES_MAX:
        nest.fault(at, f"has {len(equals):,} bytes as JSON; the limit is {EQUALS_BYTES_MAX:,}")
    return StopWhen(pointer, equals)


def read_parallel(message: task_spec_pb2.Parallel, nest: Nest) -> Parallel:
    """Steps at the same time."""
    maps = message.HasField("map_over")
    if maps and len(message.steps) != 1:
        nest.fault(
            "parallel.steps",
            f"has {len(message.steps):,} entries; map_over takes exactly one, run for each item",
        )
    steps = nest.steps(message.steps, "parallel.steps", 0, STEPS_MAX)
    join = nest.choice(message, "join", "parallel.") or 1
    quorum = message.quorum
    if join != QUORUM:
        nest.without_effect(message, "parallel", ("quorum",), "join QUORUM")
    elif quorum < 1 or (not maps and quorum > len(message.steps)):
        most = "the number of items" if maps else f"the number of steps, {len(message.steps):,}"
        nest.fault(
            "parallel.quorum", f"{quorum:,} is not from 1 to {most}: with join QUORUM so many must complete"
        )
    form = nest.choice(message, "output_form", "parallel.") or 1
    if form == BY_NAME:
        _expect_names(message, nest)
    return Parallel(
        steps,
        nest.pointer(message.map_over, "parallel.map_over") if maps else None,
        join,
        quorum,
        nest.choice(message, "failure_policy", "parallel.") or 1,
        nest.optional_step(message, "reducer", "parallel"),
        form,
    )


def _expect_names(message: task_spec_pb2.Parallel, nest: Nest) -> None:
    at = "parallel.output_form"
    if message.HasField("map_over"):
        nest.fault(at, "cannot be BY_NAME with map_over, whose items have no names: use LIST")
    elif message.HasField("reducer"):
        nest.fault(at, "cannot be BY_NAME with a reducer, which is given the list: use LIST")
    else:
        for number, step in enumerate(message.steps[:STEPS_MAX]):
            if not step.name:
                nest.fault(
                    f"parallel.steps[{number}].name",
                    "must be set: output_form BY_NAME puts its output under it",
                )


def read_pipeline(message: task_spec_pb2.Pipeline, nest: Nest) -> Pipeline:
    """Items through stages."""
    has_pointer = message.HasField("items_pointer")
    if has_pointer and message.items:
        nest.fault("pipeline.items_pointer", "cannot be set beside items: the items are here or in the input")
    on_failure = nest.choice(message, "on_item_failure", "pipeline.") or 1
    failures = message.max_item_failures
    if on_failure == FAIL:
        nest.without_effect(
            message, "pipeline", ("max_item_failures",), "on_item_failure DROP or DEAD_LETTER"
        )
    elif failures < 0:
        nest.fault("pipeline.max_item_failures", f"{failures:,} is negative; 0 means no limit")
    bounds = (1, CONCURRENCY_MAX)
    return Pipeline(
        nest.steps(message.stages, "pipeline.stages", 1, STAGES_MAX),
        _read_items(message, nest),
        message.open,
        nest.pointer(message.items_pointer, "pipeline.items_pointer") if has_pointer else None,
        message.barrier,
        nest.number(message, "stage_concurrency", "pipeline.", bounds, 16),
        nest.number(message, "buffer", "pipeline.", bounds, 16),
        nest.choice(message, "ordering", "pipeline.") or 1,
        on_failure,
        failures,
        message.discard_outputs,
    )


def _read_items(message: task_spec_pb2.Pipeline, nest: Nest) -> tuple[Payload, ...]:
    items = message.items
    if len(items) > ITEMS_MAX:
        nest.fault(
            "pipeline.items",
            f"has {len(items):,} entries; the limit is {ITEMS_MAX:,}: set open and append the others",
        )
        return ()
    return tuple(nest.payload(item, f"pipeline.items[{number}]") for number, item in enumerate(items))


def read_custom(message: task_spec_pb2.CustomMode, nest: Nest) -> CustomMode:
    """A mode of somebody's own, which looks at what it is told itself."""
    custom = CustomMode(
        message.name,
        nest.optional_payload(message, "params", "custom"),
        nest.steps(message.steps, "custom.steps", 0, STEPS_MAX),
    )
    mode = nest.modes.get(message.name)
    if mode is None:
        installed = ", ".join(sorted(nest.modes)) or "none"
        nest.fault("custom.name", f"is no mode that this server has; installed: {installed}")
    elif not nest.faults:
        try:
            for field, words in mode.faults(custom):
                nest.fault(f"custom.{field}" if field else "custom", words)
            mode.children_max(custom)
        except Exception:
            # Somebody else's code must not answer a caller with a defect.
            log.exception("mode_broke", mode=message.name)
            nest.fault(
                "custom", f"the mode {message.name} failed to look at it: its operator finds more in the log"
            )
    return custom
