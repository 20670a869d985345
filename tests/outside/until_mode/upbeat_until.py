"""A mode for upbeat: a step is repeated on its own output until that says that it is done.

The output is a JSON object; `{"done": true, ...}` ends the rounds. The parameters are
`{"rounds": N}`: after so many without an end the collaboration fails with NOT_DONE.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from upbeat_server.engine.collaboration.mode import (
    Child,
    Facts,
    Fail,
    Finish,
    Move,
    Reducer,
    Setting,
    Spawn,
    given,
)
from upbeat_server.engine.model import NO_PAYLOAD, CustomMode, Error, Payload, TaskState


class Params(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller may say."""

    rounds: int


class Answer(msgspec.Struct):
    """What is looked at in an output."""

    done: bool = False


class UntilReducer:
    """One collaboration: a child a round, one after the other."""

    def __init__(self, mode: CustomMode, payload: Payload) -> None:
        self._step = mode.steps[0]
        self._rounds = _params(mode).rounds
        self._input = payload
        self._round = 0

    def begin(self, facts: Facts) -> list[Move]:
        """The first round, on the input."""
        return [self._spawn(self._input)]

    def ended(self, child: Child) -> list[Move]:
        """The next round, or the end."""
        if child.state != TaskState.COMPLETED or child.output is None:
            return [Fail(child.error or Error("NOT_DONE", f"round {self._round} did not complete"))]
        try:
            answer = msgspec.json.decode(child.output.data, type=Answer)
        except msgspec.DecodeError as error:
            return [Fail(Error("NOT_DONE", f"round {self._round} answered something else: {error}"))]
        if answer.done:
            return [Finish(child.output)]
        self._round += 1
        if self._round == self._rounds:
            return [Fail(Error("NOT_DONE", f"not done after {self._rounds} rounds"))]
        return [self._spawn(child.output)]

    def woken(self, facts: Facts) -> list[Move]:
        """Never asked for."""
        return []

    def _spawn(self, payload: Payload) -> Spawn:
        return Spawn(f"round/{self._round}", given(self._step, payload))


class UntilMode:
    """What is installed as `until`."""

    def faults(self, custom: CustomMode) -> Iterable[tuple[str, str]]:
        """One step without an input of its own, and a number of rounds from 1 on."""
        if len(custom.steps) != 1:
            yield "steps", f"has {len(custom.steps)} entries; until repeats exactly 1"
        elif custom.steps[0].input != NO_PAYLOAD:
            yield "steps[0].input", "is set, and every round would be given it: leave it out"
        try:
            rounds = _params(custom).rounds
        except msgspec.DecodeError as error:
            yield "params", f'{error}: expected {{"rounds": N}}'
        else:
            if rounds < 1:
                yield "params", f"rounds is {rounds}; at least 1 is expected"

    def children_max(self, custom: CustomMode) -> int:
        """One after the other."""
        return 1

    def reducer(self, setting: Setting) -> Reducer:
        """A new one."""
        mode = setting.collaboration.mode
        assert isinstance(mode, CustomMode)
        return UntilReducer(mode, setting.input)


def _params(custom: CustomMode) -> Params:
    return msgspec.json.decode(custom.params.data, type=Params)


MODE = UntilMode()
