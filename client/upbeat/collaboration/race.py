"""Candidates of which one wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack, overload

from upbeat.collaboration.kind import Collaboration, implied
from upbeat.collaboration.steps import alike, as_step, receiver
from upbeat.collaboration.terms import RaceOptions
from upbeat.skill import In, Out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat.collaboration.steps import AnyStep

_SELECT = {
    "accept": "first_acceptable",
    "validator": "first_acceptable",
    "score": "best_of",
    "judge": "best_of",
}
_LAUNCH = {"hedge_delay": "hedged", "hedge_quantile": "hedged"}


class Race(Collaboration[In, Out]):
    """Candidates of which one wins; make it with `race`. The output is the winner's."""

    mode: ClassVar[str] = "competitive"

    def __init__(self, parts: tuple[AnyStep[Any, Any] | str, ...], options: Mapping[str, Any]) -> None:
        if not parts:
            raise ValueError("race: at least one candidate is expected")
        full = implied(implied(options, "select", _SELECT), "launch", _LAUNCH)
        count = full.pop("candidates", None)
        super().__init__(full, RaceOptions.__annotations__)
        steps = [as_step(part) for part in parts]
        self._mode.candidates.extend(step.message for step in steps)
        if count is not None:
            if len(steps) > 1 and count != len(steps):
                raise ValueError(
                    f"candidates={count} beside {len(steps)} steps: only one alone is run several times"
                )
            self._mode.count = count if len(steps) == 1 else 0
        self._receiver = receiver(steps)
        self._giver = alike([step.kind for step in steps])


@overload
def race(*steps: AnyStep[In, Out], **options: Unpack[RaceOptions]) -> Race[In, Out]: ...


@overload
def race(*steps: AnyStep[Any, Any] | str, **options: Unpack[RaceOptions]) -> Race[Any, Any]: ...


def race(*steps: AnyStep[Any, Any] | str, **options: Unpack[RaceOptions]) -> Race[Any, Any]:
    """One step run several times (`candidates`), or several steps, against each other.

    Typed where all have the same types. Raises ValueError, TypeError and
    CodecError for what cannot be expressed.
    """
    return Race(steps, options)
