"""A mode that somebody installed on the server under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from upbeat.collaboration.kind import Collaboration
from upbeat.collaboration.steps import as_step, receiver
from upbeat.collaboration.terms import GroupOptions
from upbeat.skill import as_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat.collaboration.steps import AnyStep


class Custom(Collaboration[Any, Any]):
    """A collaboration under a mode of somebody's own; make it with `custom`."""

    mode: ClassVar[str] = "custom"

    def __init__(
        self, name: str, parts: tuple[AnyStep[Any, Any] | str, ...], params: Any, options: Mapping[str, Any]
    ) -> None:
        super().__init__({**options, "name": name, "params": params}, _KNOWN)
        steps = [as_step(part) for part in parts]
        self._mode.steps.extend(step.message for step in steps)
        self._receiver = receiver(steps)
        self._giver = as_kind("any")  # What comes out of it only the mode knows.


_KNOWN = {**GroupOptions.__annotations__, "name": None, "params": None}


def custom(
    name: str, *steps: AnyStep[Any, Any] | str, params: Any = None, **options: Unpack[GroupOptions]
) -> Custom:
    """Steps under the mode that the server has installed as `name`, which is told `params`.

    The output is decoded by what it is. Raises TypeError and CodecError for what
    cannot be expressed.
    """
    return Custom(name, steps, params, options)
