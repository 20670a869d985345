"""Ballots: what an output votes for, and when two votes are the same.

Two votes are the same when their keys are; for numbers with a tolerance see
``tally.py``. What an agent may send is anything, so reading never fails: a ballot
is valid, an abstention, or invalid with the words why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from upbeat_server.engine.collaboration.bundle import as_json
from upbeat_server.engine.collaboration.documents import (
    NUMBER_MAX,
    Unreadable,
    canonical,
    decoded,
    encoded,
    is_json_type,
    is_number,
)
from upbeat_server.engine.collaboration.failures import clipped
from upbeat_server.engine.collaboration.pointer import text_at

if TYPE_CHECKING:
    from upbeat_server.engine.model import Consensus, Payload

BY_CONTENT_TYPE, EXACT, TRIM_CASEFOLD, CANONICAL_JSON, NUMBER = range(5)

Number: TypeAlias = int | float


class Vote(msgspec.Struct, frozen=True):
    """A valid vote."""

    key: bytes  # Equal for votes that are the same.
    value: bytes  # As JSON, for people.
    number: Number = 0  # With NUMBER.


class Abstention(msgspec.Struct, frozen=True):
    """The agent did not want to vote."""


class Invalid(msgspec.Struct, frozen=True):
    """No vote can be read. The words complete "the output ..."."""

    why: str


Ballot: TypeAlias = Vote | Abstention | Invalid

ABSTENTION = Abstention()


class Reading:
    """How the outputs of one consensus are read."""

    def __init__(self, mode: Consensus) -> None:
        self._pointer = mode.vote
        # What is aggregated are numbers, whatever else was asked for.
        self._normalize = NUMBER if mode.aggregate else mode.normalize
        self._tolerance = mode.tolerance
        self._choices = mode.choices
        self._valid = self._votes_of(mode.choices) if mode.choices else []
        self._valid_keys = {vote.key for vote in self._valid}

    def _votes_of(self, choices: tuple[str, ...]) -> list[Vote]:
        """What choices are as votes, in whichever form an output has them."""
        texts = [(encoded(choice), choice.encode()) for choice in choices]
        votes = [self._vote(text, json_text) for json_text, text in texts]
        votes += [self._vote(None, json_text) for json_text, _ in texts]
        votes += [self._vote(None, text) for _, text in texts]
        return [vote for vote in votes if isinstance(vote, Vote)]

    def ballot(self, output: Payload) -> Ballot:
        """What an output votes for."""
        try:
            if self._pointer:
                vote = self._vote(None, text_at(output.data, self._pointer))
            elif is_json_type(output.content_type):
                vote = self._vote(None, text_at(output.data, ""))
            elif not output.data and not output.content_type:
                return ABSTENTION  # Nothing at all reads as null everywhere else, too.
            else:
                vote = self._vote(output.data, as_json(output))
        except Unreadable as error:
            return Invalid(str(error))
        if isinstance(vote, Vote) and self._choices and not self._is_choice(vote):
            listed, voted = clipped(", ".join(self._choices)), clipped(vote.value.decode())
            return Invalid(f"votes for {voted}, which is none of the choices: {listed}")
        return vote

    def _is_choice(self, vote: Vote) -> bool:
        if self._normalize == NUMBER:
            return any(abs(vote.number - choice.number) <= self._tolerance for choice in self._valid)
        return vote.key in self._valid_keys

    def _vote(self, plain: bytes | None, text: bytes) -> Ballot:
        """The vote in JSON ``text``; where ``plain`` is given, in bytes that say themselves no JSON."""
        try:
            if plain is None:
                value = decoded(text)
                return ABSTENTION if value is None else self._json_vote(value, text)
            return self._plain_vote(plain, text)
        except Unreadable as error:
            return Invalid(str(error))

    def _json_vote(self, value: Any, text: bytes) -> Ballot:
        if self._normalize == EXACT:
            return Vote(text, text)
        if self._normalize == TRIM_CASEFOLD:
            return _folded(value if isinstance(value, str) else canonical(value).decode())
        if self._normalize == NUMBER:
            return _number(decoded(value.strip().encode()) if isinstance(value, str) else value)
        same = canonical(value)
        return Vote(same, same)

    def _plain_vote(self, plain: bytes, text: bytes) -> Ballot:
        if self._normalize == NUMBER:
            return _number(decoded(plain))
        if self._normalize == CANONICAL_JSON:
            return self._vote(None, plain)
        try:
            words = plain.decode()
        except UnicodeDecodeError:
            words = None
        if self._normalize != TRIM_CASEFOLD:
            return Vote(plain, text if words is None else encoded(words))
        return Invalid("is no UTF-8 text") if words is None else _folded(words)


def _folded(words: str) -> Vote:
    same = encoded(words.strip().casefold())
    return Vote(same, same)


def _number(value: Any) -> Ballot:
    if not is_number(value):
        told = clipped(encoded(value).decode())
        return Invalid(f"has no number of at most {NUMBER_MAX:g} as its vote: {told}")
    same = canonical(value)
    return Vote(same, same, decoded(same))
