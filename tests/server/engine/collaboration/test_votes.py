"""What an output votes for, and when two votes are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mode_stage import json, step
from upbeat_server.engine.collaboration.votes import (
    ABSTENTION,
    CANONICAL_JSON,
    EXACT,
    NUMBER,
    TRIM_CASEFOLD,
    Ballot,
    Invalid,
    Reading,
    Vote,
)
from upbeat_server.engine.model import NO_PAYLOAD, Consensus, Payload


def reading(normalize: int = 0, **rest: object) -> Reading:
    return Reading(Consensus(step(), normalize=normalize, **rest))  # type: ignore[arg-type]


def text(words: str | bytes) -> Payload:
    return Payload("text/plain", words if isinstance(words, bytes) else words.encode())


def key(ballot: Ballot) -> bytes:
    assert isinstance(ballot, Vote), ballot
    return ballot.key


def value(ballot: Ballot) -> str:
    assert isinstance(ballot, Vote), ballot
    return ballot.value.decode()


def why(ballot: Ballot) -> str:
    assert isinstance(ballot, Invalid), ballot
    return ballot.why


@pytest.mark.parametrize(
    ("normalize", "one", "other"),
    [
        (0, json('{"a": 1, "b": 2}'), json('{"b":2.0,"a":1}')),
        (0, text("yes"), Payload("", b"yes")),
        (EXACT, json("[1]"), json("[1]")),
        (EXACT, text(b"\xff"), text(b"\xff")),
        (TRIM_CASEFOLD, json('" YES"'), text("yes\n")),
        (TRIM_CASEFOLD, text("Straße"), text("STRASSE")),
        (TRIM_CASEFOLD, json("2.0"), text("2")),
        (CANONICAL_JSON, text('{"a": 1}'), json('{"a":1.0}')),
        (NUMBER, json("2"), text(" 2.0 ")),
        (NUMBER, json('"2"'), json("2")),
    ],
)
def test_two_votes_are_the_same(normalize: int, one: Payload, other: Payload) -> None:
    ballots = reading(normalize)
    assert key(ballots.ballot(one)) == key(ballots.ballot(other))


@pytest.mark.parametrize(
    ("normalize", "one", "other"),
    [
        (0, text("yes"), text("Yes")),
        (0, json("1"), json('"1"')),
        (EXACT, json("1"), json("1.0")),
        (EXACT, json('{"a": 1}'), json('{"a":1}')),
        (TRIM_CASEFOLD, text("y es"), text("yes")),
        (CANONICAL_JSON, json("[1, 2]"), json("[2, 1]")),
        (NUMBER, json("1"), json("1.0000001")),
    ],
)
def test_two_votes_are_not_the_same(normalize: int, one: Payload, other: Payload) -> None:
    ballots = reading(normalize)
    assert key(ballots.ballot(one)) != key(ballots.ballot(other))


@pytest.mark.parametrize(
    ("normalize", "output", "told"),
    [
        (0, json('{"b": 1, "a": 2.0}'), '{"a":2,"b":1}'),
        (0, text("yes"), '"yes"'),
        (0, text(b"\xff"), '{"base64":"/w==","content_type":"text/plain"}'),
        (EXACT, json("1.0"), "1.0"),
        (TRIM_CASEFOLD, text(" Yes "), '"yes"'),
        (NUMBER, json("2.50"), "2.5"),
    ],
)
def test_a_value_is_told_as_json(normalize: int, output: Payload, told: str) -> None:
    assert value(reading(normalize).ballot(output)) == told


def test_a_vote_may_be_a_part_of_the_output_whatever_its_content_type() -> None:
    ballots = reading(vote="/answer")
    assert key(ballots.ballot(json('{"answer": "b", "why": 1}'))) == b'"b"'
    assert key(ballots.ballot(text('{"answer": "b"}'))) == b'"b"'
    assert why(ballots.ballot(json("{}"))) == "has nothing at JSON pointer '/answer'"
    assert why(ballots.ballot(text("b"))).startswith("is no JSON: ")


def test_null_and_nothing_are_abstentions() -> None:
    assert reading().ballot(json(" null ")) is ABSTENTION
    assert reading(vote="/a").ballot(json('{"a": null}')) is ABSTENTION
    assert reading(NUMBER).ballot(json("null")) is ABSTENTION
    assert reading().ballot(NO_PAYLOAD) is ABSTENTION
    assert key(reading().ballot(text("null"))) == b"null", "text is no null"


def test_what_calls_itself_json_and_is_not_is_invalid() -> None:
    assert why(reading().ballot(json("{"))).startswith("is no JSON: ")


@pytest.mark.parametrize(
    "output", [json("true"), json('"many"'), text("many"), json("[1]"), json("1" + "0" * 300)]
)
def test_what_is_no_number_is_invalid_where_numbers_are_wanted(output: Payload) -> None:
    assert why(reading(NUMBER).ballot(output))


def test_bytes_that_are_no_text_have_no_case() -> None:
    assert why(reading(TRIM_CASEFOLD).ballot(text(b"\xff"))) == "is no UTF-8 text"


@pytest.mark.parametrize(
    ("normalize", "output", "is_valid"),
    [
        (0, json('"yes"'), True),
        (0, text("yes"), True),
        (0, json('"Yes"'), False),
        (0, json("3.0"), True),
        (0, json('"3"'), True),
        (0, json('{"b":1}'), True),
        (0, json("4"), False),
        (TRIM_CASEFOLD, json('" YES "'), True),
        (TRIM_CASEFOLD, text("perhaps"), False),
        (CANONICAL_JSON, json('{"b": 1.0}'), True),
        (EXACT, text("yes"), True),
        (EXACT, json('"yes"'), True),
        (EXACT, json("3.0"), False),
    ],
)
def test_choices_are_compared_like_votes(normalize: int, output: Payload, is_valid: bool) -> None:
    ballot = reading(normalize, choices=("yes", "3", '{"b": 1}')).ballot(output)
    assert isinstance(ballot, Vote) == is_valid
    if not is_valid:
        assert "which is none of the choices: yes, 3, " in why(ballot)


def test_a_number_near_a_choice_is_one() -> None:
    ballots = reading(NUMBER, choices=("1", "2.5", "none"), tolerance=0.1)
    assert key(ballots.ballot(json("2.45"))) == b"2.45"
    assert "none of the choices" in why(ballots.ballot(json("2")))


def test_an_abstention_needs_to_be_no_choice() -> None:
    assert reading(choices=("yes",)).ballot(json("null")) is ABSTENTION


@given(
    st.integers(0, 4),
    st.sampled_from(["", "/a"]),
    st.sampled_from(["", "text/plain", "application/json"]),
    st.binary(max_size=24) | st.sampled_from([b'{"a":"x"}', b"[", b"1e400", b'"1"', b'"\\ud800"']),
)
def test_reading_never_fails(normalize: int, pointer: str, content_type: str, output: bytes) -> None:
    ballot = reading(normalize, vote=pointer).ballot(Payload(content_type, output))
    assert isinstance(ballot, Ballot)
