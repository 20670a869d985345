"""Sequential: steps in order, each on the output of the one before.

What is a step's input already is not repeated in its context: ``previous`` is
there only for a step that brings its own input, and ``original`` for all but
those whose input it is. A step that is skipped leaves the previous output as it
was; if none has completed, there is no output, and the collaboration fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration import bundle, failures
from upbeat_server.engine.collaboration.documents import Unreadable, canonical, decoded
from upbeat_server.engine.collaboration.mode import Fail, Finish, Spawn, given
from upbeat_server.engine.collaboration.pointer import value_at
from upbeat_server.engine.model import NO_PAYLOAD, CollaborationResult, ContextEntry, Payload

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Child, Facts, Move, Setting
    from upbeat_server.engine.model import Error, Sequential, StopWhen, TaskSpec

NAME = "sequential"
PANEL = "all"

CONTEXT_ORIGINAL_AND_PREVIOUS, CONTEXT_ALL = 2, 3
SKIP, FALLBACK = 2, 3


class SequentialReducer:
    """See the module; one child at a time, and ``_key`` is the one that is waited for."""

    def __init__(self, mode: Sequential, setting: Setting) -> None:
        self._mode = mode
        self._panel = PANEL if setting.collaboration.distinct_agents else ""
        self._original = setting.input
        self._previous: Payload | None = None  # The last output, if a step has completed.
        self._outputs: list[bytes] = []  # As JSON; kept for CONTEXT_ALL only.
        self._index = 0
        self._key = ""

    def begin(self, facts: Facts) -> list[Move]:  # noqa: ARG002 - see Reducer
        """See Reducer."""
        return self._spawn()

    def ended(self, child: Child) -> list[Move]:
        """See Reducer."""
        if child.key != self._key:
            return []
        if failures.is_completed(child):
            return self._completed(child, child.output or NO_PAYLOAD)
        return self._failed(child)

    def woken(self, facts: Facts) -> list[Move]:  # noqa: ARG002 - see Reducer
        """See Reducer; never asked for."""
        return []

    def _completed(self, child: Child, output: Payload) -> list[Move]:
        self._previous = output
        if self._mode.context == CONTEXT_ALL:
            self._outputs.append(bundle.as_json(output))
        stop = self._mode.stop_when
        if stop is not None and _is_met(stop, output):
            return [self._finish(output)]
        return self._next(child)

    def _failed(self, child: Child) -> list[Move]:
        step, fallback = self._mode.steps[self._index], self._mode.fallback
        if self._mode.on_step_failure == SKIP:
            return self._next(child)
        if fallback is None or self._mode.on_step_failure != FALLBACK:
            return [self._fail(failures.step_failed(step, child))]
        if child.key != f"step/{self._index}":
            return [self._fail(failures.step_failed(fallback, child))]
        self._key = f"step/{self._index}/fallback"
        # It is given what the step was given that it stands for.
        stand_in = fallback if fallback.input != NO_PAYLOAD else given(fallback, step.input)
        return [Spawn(self._key, self._filled(stand_in), self._panel)]

    def _next(self, child: Child) -> list[Move]:
        self._index += 1
        if self._index < len(self._mode.steps):
            return self._spawn()
        if self._previous is None:
            step = self._mode.steps[-1]
            return [
                self._fail(failures.step_failed(step, child, "; it was the last, and none has completed"))
            ]
        return [self._finish(self._previous)]

    def _spawn(self) -> list[Move]:
        self._key = f"step/{self._index}"
        return [Spawn(self._key, self._filled(self._mode.steps[self._index]), self._panel)]

    def _filled(self, step: TaskSpec) -> TaskSpec:
        has_own_input = step.input != NO_PAYLOAD
        context = []
        is_original_new = has_own_input or self._previous is not None
        if self._mode.context >= CONTEXT_ORIGINAL_AND_PREVIOUS and is_original_new:
            context.append(ContextEntry("original", self._original))
        if has_own_input and self._previous is not None:
            context.append(ContextEntry("previous", self._previous))
        if self._mode.context == CONTEXT_ALL:
            context.append(ContextEntry("outputs", bundle.listed(self._outputs)))
        payload = self._original if self._previous is None else self._previous
        return given(step, payload, *context)

    def _finish(self, output: Payload) -> Finish:
        self._key = ""
        return Finish(output, CollaborationResult(mode=NAME))

    def _fail(self, error: Error) -> Fail:
        self._key = ""
        return Fail(error, CollaborationResult(mode=NAME))


def _is_met(condition: StopWhen, output: Payload) -> bool:
    """Whether the output has the value; one that is no JSON, or has nothing there, has not."""
    try:
        return canonical(value_at(output.data, condition.pointer)) == canonical(decoded(condition.equals))
    except Unreadable:
        return False
