"""Writes the mode of a collaboration as a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from google.protobuf import json_format

from upbeat_server.engine.model import (
    Competitive,
    Consensus,
    CustomMode,
    Parallel,
    Pipeline,
    Sequential,
)
from upbeat_server.rpc.parts import fill_duration, fill_payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat.v1 import task_spec_pb2 as pb
    from upbeat_server.engine.model import TaskSpec

    FillStep: TypeAlias = Callable[[pb.TaskSpec, TaskSpec], None]
    AnyMode: TypeAlias = Sequential | Parallel | Pipeline | Consensus | Competitive | CustomMode

HEDGED = 2


def fill_mode(message: pb.Collaboration, mode: AnyMode, fill_step: FillStep, *, with_payloads: bool) -> None:
    """Write a mode with its steps; payloads of its own only where they are wanted."""
    match mode:
        case Sequential():
            _fill_sequential(message.sequential, mode, fill_step)
        case Parallel():
            _fill_parallel(message.parallel, mode, fill_step)
        case Pipeline():
            _fill_pipeline(message.pipeline, mode, fill_step, with_payloads=with_payloads)
        case Consensus():
            _fill_consensus(message.consensus, mode, fill_step)
        case Competitive():
            _fill_competitive(message.competitive, mode, fill_step)
        case CustomMode():
            message.custom.name = mode.name
            for step in mode.steps:
                fill_step(message.custom.steps.add(), step)
            if with_payloads:
                fill_payload(message.custom.params, mode.params)


def _fill_sequential(message: pb.Sequential, mode: Sequential, fill_step: FillStep) -> None:
    for step in mode.steps:
        fill_step(message.steps.add(), step)
    message.context = mode.context  # type: ignore[assignment]
    message.on_step_failure = mode.on_step_failure  # type: ignore[assignment]
    if mode.fallback is not None:
        fill_step(message.fallback, mode.fallback)
    if mode.stop_when is not None:
        message.stop_when.pointer = mode.stop_when.pointer
        json_format.Parse(mode.stop_when.equals, message.stop_when.equals)


def _fill_parallel(message: pb.Parallel, mode: Parallel, fill_step: FillStep) -> None:
    for step in mode.steps:
        fill_step(message.steps.add(), step)
    if mode.map_over is not None:
        message.map_over = mode.map_over
    message.join = mode.join  # type: ignore[assignment]
    message.quorum = mode.quorum
    message.failure_policy = mode.failure_policy  # type: ignore[assignment]
    if mode.reducer is not None:
        fill_step(message.reducer, mode.reducer)
    message.output_form = mode.output_form  # type: ignore[assignment]


def _fill_pipeline(message: pb.Pipeline, mode: Pipeline, fill_step: FillStep, *, with_payloads: bool) -> None:
    for stage in mode.stages:
        fill_step(message.stages.add(), stage)
    if with_payloads:
        for item in mode.items:
            fill_payload(message.items.add(), item)
    message.open = mode.open
    if mode.items_pointer is not None:
        message.items_pointer = mode.items_pointer
    message.barrier = mode.barrier
    message.stage_concurrency = mode.stage_concurrency
    message.buffer = mode.buffer
    message.ordering = mode.ordering  # type: ignore[assignment]
    message.on_item_failure = mode.on_item_failure  # type: ignore[assignment]
    message.max_item_failures = mode.max_item_failures
    message.discard_outputs = mode.discard_outputs


def _fill_consensus(message: pb.Consensus, mode: Consensus, fill_step: FillStep) -> None:
    fill_step(message.voter, mode.voter)
    message.voters = mode.voters
    message.rule = mode.rule  # type: ignore[assignment]
    message.supermajority = mode.supermajority
    message.quorum = mode.quorum
    message.vote = mode.vote
    message.normalize = mode.normalize  # type: ignore[assignment]
    message.tolerance = mode.tolerance
    message.choices.extend(mode.choices)
    message.weights = mode.weights  # type: ignore[assignment]
    message.weight_label = mode.weight_label
    message.early_decision = mode.early_decision
    message.on_no_consensus = mode.on_no_consensus  # type: ignore[assignment]
    if mode.judge is not None:
        fill_step(message.judge, mode.judge)
    message.rounds = mode.rounds
    message.aggregate = mode.aggregate  # type: ignore[assignment]


def _fill_competitive(message: pb.Competitive, mode: Competitive, fill_step: FillStep) -> None:
    for candidate in mode.candidates:
        fill_step(message.candidates.add(), candidate)
    if len(mode.candidates) == 1:  # Unset it would mean several.
        message.count = 1
    message.select = mode.select  # type: ignore[assignment]
    message.accept = mode.accept
    if mode.validator is not None:
        fill_step(message.validator, mode.validator)
    message.score = mode.score
    if mode.judge is not None:
        fill_step(message.judge, mode.judge)
    message.launch = mode.launch  # type: ignore[assignment]
    if mode.launch == HEDGED:
        if mode.hedge_delay_ms:
            fill_duration(message.hedge_delay, mode.hedge_delay_ms)
        message.hedge_quantile = mode.hedge_quantile
