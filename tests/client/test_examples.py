"""The examples of collaborations, as programs: each runs by itself against a server and says something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upbeat import testing
from upbeat.cli.spec_file import documents
from upbeat.cli.spec_reader import spec_of

EXAMPLES = Path(__file__).parents[2] / "client" / "examples"
TIMEOUT_S = 60.0


@pytest.fixture
def server() -> Iterator[testing.Server]:
    with testing.server() as running:
        yield running


def said(server: testing.Server, name: str) -> str:
    """What an example printed; it must end in good order and complain of nothing."""
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / name), server.address],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_agents_vote_and_one_abstains(server: testing.Server) -> None:
    out = said(server, "consensus.py")
    assert "'hello' is spam: found ['prize'" in out
    assert "  3 for spam\n  1 for ham\n  1 abstained, margin 2\n" in out
    assert "'lunch' has no verdict: " in out


def test_a_second_candidate_wins_where_the_first_is_stuck(server: testing.Server) -> None:
    out = said(server, "race.py")
    assert out.count("thinks and thinks") == 2
    assert "has solved the riddle" in out
    assert "has solved the next one" in out
    assert "candidate/1: COMPLETED" in out


def test_items_are_read_as_they_leave(server: testing.Server) -> None:
    out = said(server, "pipeline.py")
    assert out.startswith("https://example.org/start: This is the page https://example.org/start (short)\n")
    assert "item 13 was given up: GONE" in out
    assert out.endswith("39 reports\n")


def test_collaborations_nest(server: testing.Server) -> None:
    out = said(server, "nested.py")
    assert "published 'All there is to know about gardens.': fine" in out
    assert "war and taxes was turned down: says '" in out


def test_the_file_says_what_the_program_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    article: Any = __import__("nested").ARTICLE
    (document,) = documents(str(EXAMPLES / "collaboration.yaml"))
    spec = spec_of(document, "collaboration.yaml")
    assert spec.collaboration == article.spec().collaboration
    assert spec.input.data == b'"gardens"'
