"""The comparison of candidates by a judge: a knockout, each pair in both orders.

Candidates meet in the order of their ordinals: the champion so far against the
next one that has completed. A pair is judged as soon as it is known, which is
when all before the challenger have ended; so who meets whom, and who wins, does
not depend on who was first. A judge may prefer what it reads first: a challenger
wins only if it wins in both orders, else the champion stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upbeat_server.engine.collaboration.documents import Unreadable, decoded, encoded
from upbeat_server.engine.collaboration.failures import clipped
from upbeat_server.engine.collaboration.mode import Spawn, given
from upbeat_server.engine.model import ContextEntry

if TYPE_CHECKING:
    from upbeat_server.engine.model import Payload, TaskSpec

FORWARD, BACKWARD = "forward", "backward"
VERDICTS = ("first", "second", "tie")


class Knockout:
    """A candidate is known by its ordinal. ``champion`` is None before the first."""

    def __init__(self, judge: TaskSpec, asked: Payload) -> None:
        self.champion: int | None = None
        self._judge = judge
        self._asked = asked
        self._challenger: int | None = None
        self._wins = 0  # Of the challenger, over both orders.
        self._open: dict[str, str] = {}  # Orders that are being judged, by key.

    @property
    def is_judging(self) -> bool:
        """Whether a pair is before the judge."""
        return bool(self._open)

    def has(self, key: str) -> bool:
        """Whether a child is a judge that is waited for."""
        return key in self._open

    def challenge(self, ordinal: int, outputs: dict[int, Payload]) -> list[Spawn]:
        """The next candidate comes in, while no pair is judged. The first is champion unchallenged."""
        if self.champion is None:
            self.champion = ordinal
            return []
        self._challenger, self._wins = ordinal, 0
        pair = f"pair/{self.champion}/{ordinal}"
        self._open = {f"{pair}/{order}": order for order in (FORWARD, BACKWARD)}
        one, other = outputs[self.champion], outputs[ordinal]
        return [
            Spawn(f"{pair}/{FORWARD}", self._shown(one, other)),
            Spawn(f"{pair}/{BACKWARD}", self._shown(other, one)),
        ]

    def judged(self, key: str, output: Payload) -> None:
        """A judge answered. Raises Unreadable if it is no verdict."""
        order = self._open.pop(key)
        verdict = _verdict(output)
        self._wins += verdict == ("second" if order == FORWARD else "first")
        if not self._open and self._wins == 2:
            self.champion = self._challenger

    def _shown(self, first: Payload, second: Payload) -> TaskSpec:
        return given(self._judge, self._asked, ContextEntry("first", first), ContextEntry("second", second))


def _verdict(output: Payload) -> Any:
    answer = decoded(output.data)
    verdict = answer.get("winner") if isinstance(answer, dict) else answer
    if verdict not in VERDICTS:
        told = clipped(encoded(answer).decode())
        raise Unreadable(
            f'is to be "first", "second" or "tie", or an object with that as winner, and is {told}'
        )
    return verdict
