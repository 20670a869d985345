"""Parallel: steps at the same time, on the same input or one for each item of a list.

The output keeps a place for every step or item, in their order: what has not
completed is null there (a failed step of a ``settled`` join, one that was
cancelled when a quorum was reached). A reducer step is given the list, also an
empty one, as its input; or as context ``outputs``, if it brings its own input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration import bundle, failures
from upbeat_server.engine.collaboration.documents import Unreadable, json_payload
from upbeat_server.engine.collaboration.mode import Cancel, Fail, Finish, Spawn, given
from upbeat_server.engine.collaboration.pointer import list_at
from upbeat_server.engine.model import NO_PAYLOAD, CollaborationResult, ContextEntry, Error

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Child, Facts, Move, Setting
    from upbeat_server.engine.model import Parallel, Payload, TaskSpec

NAME = "parallel"
PANEL = "all"
REDUCER_KEY = "reducer"
ITEMS_MAX = 10_000

ALL, QUORUM, ANY, SETTLED = 1, 2, 3, 4
COLLECT = 2
BY_NAME = 2

FAILURES_TOLD_MAX = 10


class ParallelReducer:
    """See the module. A step is known by its ordinal."""

    def __init__(self, mode: Parallel, setting: Setting) -> None:
        self._mode = mode
        self._panel = PANEL if setting.collaboration.distinct_agents else ""
        self._input = setting.input
        self._outstanding: dict[str, int] = {}  # Ordinals by key.
        self._outputs: list[bytes] = []  # By ordinal, as JSON.
        self._size = 0  # Of all of them.
        self._size_max = setting.output_bytes_max
        self._completed = 0
        self._winner_id = 0  # Of the last to complete; told where one is enough.
        self._failures: dict[int, Error] = {}  # The first few, and how many there are.
        self._failed = 0
        self._is_reducing = False

    def begin(self, facts: Facts) -> list[Move]:  # noqa: ARG002 - see Reducer
        """See Reducer."""
        try:
            spawns = self._spawns()
        except Unreadable as why:
            return [Fail(failures.invalid_form("the input", str(why)), CollaborationResult(mode=NAME))]
        needed = self._needed(len(spawns))
        if 0 < len(spawns) < needed:
            problem = f"cannot be reached by {len(spawns)} steps or items: lower it"
            error = failures.invalid_form(f"a quorum of {needed}", problem)
            return [Fail(error, CollaborationResult(mode=NAME))]
        self._outstanding = {spawn.key: ordinal for ordinal, spawn in enumerate(spawns)}
        self._outputs = [bundle.NULL] * len(spawns)
        return list(spawns) if spawns else self._joined()

    def ended(self, child: Child) -> list[Move]:
        """See Reducer."""
        if child.key == REDUCER_KEY and self._is_reducing:
            return [self._reduced(child)]
        ordinal = self._outstanding.pop(child.key, None)
        if ordinal is None or self._is_reducing:
            return []
        if failures.is_completed(child):
            self._completed += 1
            self._winner_id = child.task_id
            self._outputs[ordinal] = output = bundle.as_json(child.output or NO_PAYLOAD)
            self._size += len(output)
            if self._size > self._size_max:  # Nor would it be smaller for a reducer.
                return [Fail(self._too_large(), CollaborationResult(mode=NAME))]
        else:
            self._failed += 1
            self._failures[ordinal] = failures.step_failed(self._step(ordinal), child)
            if len(self._failures) > FAILURES_TOLD_MAX:
                del self._failures[max(self._failures)]
        return self._turn()

    def woken(self, facts: Facts) -> list[Move]:  # noqa: ARG002 - see Reducer
        """See Reducer; never asked for."""
        return []

    def _spawns(self) -> list[Spawn]:
        pointer = self._mode.map_over
        if pointer is None:
            return [
                Spawn(f"step/{ordinal}", given(step, self._input), self._panel)
                for ordinal, step in enumerate(self._mode.steps)
            ]
        step = self._mode.steps[0]
        return [
            Spawn(f"item/{ordinal}", _on_item(step, json_payload(item)), self._panel)
            for ordinal, item in enumerate(list_at(self._input.data, pointer, ITEMS_MAX))
        ]

    def _step(self, ordinal: int) -> TaskSpec:
        return self._mode.steps[ordinal if self._mode.map_over is None else 0]

    def _needed(self, steps: int) -> int:
        """Steps that must complete."""
        if self._mode.join == QUORUM:
            return self._mode.quorum
        return {ANY: 1, SETTLED: 0}.get(self._mode.join, steps)

    def _turn(self) -> list[Move]:
        steps = len(self._outputs)
        needed = self._needed(steps)
        is_over = not self._outstanding
        if is_over if self._mode.join == SETTLED else self._completed >= needed:
            return self._joined()
        # Where not all must complete, nobody is to wait for a quorum that cannot come.
        collects = self._mode.join == ALL and self._mode.failure_policy == COLLECT
        if is_over or (steps - self._failed < needed and not collects):
            return [Fail(self._error(needed), CollaborationResult(mode=NAME))]
        return []

    def _joined(self) -> list[Move]:
        """What was waited for is there; what is live is not wanted any more."""
        if self._mode.reducer is None:
            return [Finish(self._output(), self._result())]
        self._is_reducing = True
        outputs = bundle.listed(self._outputs)
        context = () if self._mode.reducer.input == NO_PAYLOAD else (ContextEntry("outputs", outputs),)
        self._outputs = []
        rest: list[Move] = [Cancel(key) for key in self._outstanding]
        return [*rest, Spawn(REDUCER_KEY, given(self._mode.reducer, outputs, *context))]

    def _reduced(self, child: Child) -> Move:
        self._is_reducing = False
        if failures.is_completed(child):
            return Finish(child.output or NO_PAYLOAD, self._result())
        step = self._mode.reducer or self._mode.steps[0]
        return Fail(failures.step_failed(step, child), CollaborationResult(mode=NAME))

    def _output(self) -> Payload:
        if self._mode.output_form == BY_NAME and self._mode.map_over is None:
            names = (step.name for step in self._mode.steps)
            return bundle.named(zip(names, self._outputs, strict=True))
        return bundle.listed(self._outputs)

    def _result(self) -> CollaborationResult:
        winner_id = self._winner_id if self._mode.join == ANY else 0
        return CollaborationResult(mode=NAME, winner_id=winner_id)

    def _too_large(self) -> Error:
        largest = max(range(len(self._outputs)), key=lambda ordinal: len(self._outputs[ordinal]))
        key = f"step/{largest}" if self._mode.map_over is None else f"item/{largest}"
        return failures.output_too_large(self._size, self._size_max, self._step(largest).name or key)

    def _error(self, needed: int) -> Error:
        """The failure of the lowest ordinal, with the others in its details."""
        first = self._failures[min(self._failures)]
        if self._failed == 1:
            return first
        told = "; ".join(self._failures[ordinal].message for ordinal in sorted(self._failures))
        words = (
            f"{self._failed} of {len(self._outputs)} steps failed and {needed} must complete; {first.message}"
        )
        return Error(first.reason, words, details={**first.details, "failures": told})


def _on_item(step: TaskSpec, item: Payload) -> TaskSpec:
    """The step on an item; one that brings its own input is told the item besides it."""
    if step.input == NO_PAYLOAD:
        return given(step, item)
    return given(step, item, ContextEntry("previous", item))
