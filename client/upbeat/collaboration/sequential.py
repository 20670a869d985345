"""Steps one after the other, each on the output of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack, overload

from upbeat.collaboration.kind import Collaboration, implied
from upbeat.collaboration.steps import as_step, receiver
from upbeat.collaboration.terms import SequenceOptions
from upbeat.skill import In, Out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat.collaboration.steps import AnyStep


class Sequence(Collaboration[In, Out]):
    """Steps in order; make it with `sequence`.

    The output is that of the last step that ran, read as the type of the last
    one: where `stop_when` or a skipped step lets another be the last, its output
    must fit that too.
    """

    mode: ClassVar[str] = "sequential"

    def __init__(self, parts: tuple[AnyStep[Any, Any] | str, ...], options: Mapping[str, Any]) -> None:
        if not parts:
            raise ValueError("sequence: at least one step is expected")
        options = implied(options, "on_step_failure", {"fallback": "fallback"})
        super().__init__(options, SequenceOptions.__annotations__)
        steps = [as_step(part) for part in parts]
        self._mode.steps.extend(step.message for step in steps)
        self._receiver = receiver(steps[:1])
        self._giver = steps[-1].kind


@overload
def sequence(
    first: AnyStep[In, Any], last: AnyStep[Any, Out], /, **options: Unpack[SequenceOptions]
) -> Sequence[In, Out]: ...


@overload
def sequence(
    first: AnyStep[In, Any],
    second: AnyStep[Any, Any],
    last: AnyStep[Any, Out],
    /,
    **options: Unpack[SequenceOptions],
) -> Sequence[In, Out]: ...


@overload
def sequence(*steps: AnyStep[Any, Any] | str, **options: Unpack[SequenceOptions]) -> Sequence[Any, Any]: ...


def sequence(*steps: AnyStep[Any, Any] | str, **options: Unpack[SequenceOptions]) -> Sequence[Any, Any]:
    """Steps in order, each on the output of the one before; typed for two and three steps.

    A handler finds the original input as `ctx.original`. Raises ValueError,
    TypeError and CodecError for what cannot be expressed.
    """
    return Sequence(steps, options)
