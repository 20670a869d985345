from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from upbeat import Client
from upbeat.cli.screen import Screen
from upbeat_server.commands.demo import outcome_report
from upbeat_server.commands.demo.ballots import Ballot
from upbeat_server.commands.demo.campaign import Campaign
from upbeat_server.commands.demo.collaborations import Collaborations
from upbeat_server.commands.demo.outcomes import Cast, Lane, Left, Race, Stream, Vote
from upbeat_server.commands.demo.search import Found
from upbeat_server.commands.demo.stages import Digest


@pytest.fixture
def together() -> Collaborations:
    nobody = cast("Client", None)
    made = Collaborations(nobody, Campaign(nobody, [], "run"), Path(), 5, lambda _: None)
    casts = [
        Cast("a-1", Ballot("m", "length", 90, "f: 90 lines"), dissents=False),
        Cast("a-2", Ballot("n", "nesting", 7, "g: 7 blocks deep"), dissents=True),
    ]
    made.outcomes.vote = Vote("m", [("m", 1), ("n", 1)], casts, missing=1)
    lanes = [
        Lane("by-name", "a-1", "CANCELLED", 0.5, has_won=False),
        Lane("backwards", "a-2", "COMPLETED", 0.4, True),
    ]
    made.outcomes.race = Race(Found("m", 12, 30), lanes, 0.5)
    left = [
        Left(0.25, Digest("m", 1_200, 3, "f", 9, "It measures.")),
        Left(0.5, Digest("n", 0, 0, "", 0, "", "no text")),
    ]
    made.outcomes.stream = Stream(left, 1.0, {"fetch": 0.5, "measure": 2.0})
    return made


def shown(together: Collaborations, capsys: pytest.CaptureFixture[str]) -> str:
    outcome_report.show(together, Screen())
    return capsys.readouterr().out


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_people_see_ballots_tally_and_dissent(
    together: Collaborations, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(together, capsys)
    assert ["a-1", "length", "m", "f:", "90", "lines"] in rows(text)
    assert ["a-2", "nesting", "n", "g:", "7", "blocks", "deep", "dissents"] in rows(text)
    assert "m it is: 1 for m, 1 for n; 1 missing" in text


def test_people_see_who_won_and_what_the_losers_used(
    together: Collaborations, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(together, capsys)
    assert ["by-name", "a-1", "CANCELLED", "500ms"] in rows(text)
    assert ["backwards", "a-2", "COMPLETED", "400ms", "wins"] in rows(text)
    assert "found in m, line 12, after 30 files; the losers had used 500ms" in text


def test_people_see_the_items_and_the_time_of_their_stages(
    together: Collaborations, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(together, capsys)
    assert ["250ms", "m", "1,200", "It", "measures."] in rows(text)
    assert ["500ms", "n", "0", "no", "text"] in rows(text)
    assert "2 items in 1.0s, in which agents worked on them for 2.5s (fetch 500ms, measure 2.0s)" in text


def test_programs_are_given_the_same(together: Collaborations) -> None:
    document = outcome_report.document(together)
    assert document["vote"]["tally"] == [{"module": "m", "ballots": 1}, {"module": "n", "ballots": 1}]
    assert [ballot["dissents"] for ballot in document["vote"]["ballots"]] == [False, True]
    assert document["race"]["wasted_seconds"] == 0.5
    assert [lane["won"] for lane in document["race"]["lanes"]] == [False, True]
    assert document["stream"]["stage_seconds"] == {"fetch": 0.5, "measure": 2.0}
    assert [item["module"] for item in document["stream"]["items"]] == ["m", "n"]


def test_what_did_not_take_place_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = cast("Client", None)
    none = Collaborations(nobody, Campaign(nobody, [], "run"), Path(), 5, lambda _: None)
    assert shown(none, capsys) == ""
    document = outcome_report.document(none)
    assert (document["vote"], document["race"], document["stream"]) == (None, None, None)
