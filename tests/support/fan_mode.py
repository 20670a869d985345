"""A mode in somebody else's package: as many children of its one step as its parameters say.

It finishes when all have ended, with how many completed. What the parameters may say
besides lets tests look at what a group does with a mode's moves.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from upbeat_server.engine.collaboration.mode import (
    Child,
    Facts,
    Fail,
    Finish,
    Freeze,
    Move,
    Reducer,
    Setting,
    Spawn,
    Wake,
    given,
)
from upbeat_server.engine.model import CustomMode, Error, Payload, TaskState


class FanParams(msgspec.Struct):
    """What the parameters may say."""

    count: int = 1
    panel: str = ""
    enough: int = 0  # Completed children that decide; 0: all have to end.
    late: int = 0  # Children that are made when it is woken.
    wake_ms: int = 0
    raises_at: str = ""  # Of begin, ended.
    answers: str = ""  # What is answered in the place of moves.
    fills: int = 0  # Bytes of the output.


class FanReducer:
    """One fan."""

    def __init__(self, setting: Setting) -> None:
        mode = setting.collaboration.mode
        assert isinstance(mode, CustomMode)
        self._params = msgspec.json.decode(mode.params.data or b"{}", type=FanParams)
        self._step = given(mode.steps[0], setting.input)
        self._made = self._params.count + (self._params.late if setting.memo else 0)
        self._ended: dict[str, bool] = {}

    def begin(self, facts: Facts) -> list[Move]:
        """Spawn all."""
        if self._params.raises_at == "begin":
            raise RuntimeError("begin broke")
        if self._params.answers:
            return [self._params.answers]  # type: ignore[list-item]
        moves: list[Move] = [self._spawn(number) for number in range(self._made)]
        if self._params.wake_ms:
            moves.append(Wake(self._params.wake_ms))
        return moves or self._decided()

    def ended(self, child: Child) -> list[Move]:
        """Count."""
        if self._params.raises_at == "ended":
            raise RuntimeError("ended broke")
        self._ended[child.key] = child.state == TaskState.COMPLETED
        return self._decided()

    def woken(self, facts: Facts) -> list[Move]:
        """Spawn those that come late."""
        first, self._made = self._made, self._made + self._params.late
        return [Freeze(b"woken"), *(self._spawn(number) for number in range(first, self._made))]

    def _spawn(self, number: int) -> Spawn:
        return Spawn(f"fan/{number}", self._step, self._params.panel)

    def _decided(self) -> list[Move]:
        completed = sum(self._ended.values())
        if self._params.enough and completed >= self._params.enough:
            return [Finish(self._output(completed))]
        if len(self._ended) < self._made:
            return []
        if self._params.enough:
            return [Fail(Error("FAN_FAILED", "too few completed"))]
        return [Finish(self._output(completed))]

    def _output(self, completed: int) -> Payload:
        return Payload("application/json", str(completed).encode() + b" " * self._params.fills)


class FanMode:
    """What is installed as ``fan``."""

    def faults(self, custom: CustomMode) -> Iterable[tuple[str, str]]:
        """Wants exactly one step."""
        if len(custom.steps) != 1:
            yield "steps", f"has {len(custom.steps)} entries; a fan has exactly 1"

    def children_max(self, custom: CustomMode) -> int:
        """All of them."""
        params = msgspec.json.decode(custom.params.data or b"{}", type=FanParams)
        return params.count + params.late

    def reducer(self, setting: Setting) -> Reducer:
        """A new one."""
        return FanReducer(setting)


def fan(step: object, **params: object) -> CustomMode:
    """The mode with these parameters."""
    return CustomMode("fan", Payload("application/json", msgspec.json.encode(params)), (step,))  # type: ignore[arg-type]
