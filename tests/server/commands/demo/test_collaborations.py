"""What the demo gives its collaborations to do; that they do it is seen in test_demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from upbeat import Client, Unavailable
from upbeat_server.commands.demo.campaign import Campaign
from upbeat_server.commands.demo.collaborations import Collaborations, Ranked, ranked
from upbeat_server.commands.demo.reviews import Complexity, FunctionScore, Module


class Away:
    """A client whose server is not there."""

    async def submit(self, *_: Any, **__: Any) -> Any:
        raise Unavailable("the server is away")

    def pipeline(self, *_: Any, **__: Any) -> Any:
        raise Unavailable("the server is away")


def module(name: str, folder: str = "/nowhere") -> Module:
    return Module(f"{folder}/{name}.py", name, "")


def together(modules: list[Module], reviews: list[Complexity], said: list[str]) -> Collaborations:
    client = cast("Client", Away())
    campaign = Campaign(client, modules, "run")
    campaign.findings.complexities.extend(reviews)
    return Collaborations(client, campaign, Path("/nowhere"), 5, said.append)


def test_files_are_ranked_by_their_most_complex_function() -> None:
    modules = [module(name) for name in ("a", "b", "c", "d")]
    reviews = [
        Complexity("a", worst=[FunctionScore("f", 1, 3), FunctionScore("g", 1, 2)]),
        Complexity("c", worst=[FunctionScore("h", 1, 9)]),
        Complexity("d"),
        Complexity("b", problem="does not parse"),
    ]
    assert ranked(modules, reviews) == [
        Ranked(modules[2], FunctionScore("h", 1, 9)),
        Ranked(modules[0], FunctionScore("f", 1, 3)),
        Ranked(modules[3]),
    ]


async def test_where_no_file_can_be_parsed_nothing_is_asked_and_that_is_said() -> None:
    said: list[str] = []
    acts = together([module("a")], [Complexity("a", problem="does not parse")], said)
    await acts.run()
    assert said == [
        "vote: no file has a function: there is nothing to vote on",
        "race: no file has a function: there is nothing to look for",
        "stream: no file can be parsed: there is nothing to stream",
    ]
    assert acts.is_good
    assert (acts.outcomes.vote, acts.outcomes.race, acts.outcomes.stream) == (None, None, None)


async def test_a_collaboration_that_fails_is_told_and_the_next_one_begins(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "a.py").touch()
    modules = [module("a", str(tmp_path))]
    acts = together(modules, [Complexity("a", worst=[FunctionScore("f", 1, 3)])], said)
    await acts.run()
    assert not acts.is_good
    assert [line for line in said if "failed" in line] == [
        f"{name}: failed: the server is away" for name in ("vote", "race", "stream")
    ]
    assert "race: 3 searchers, who finds f first among 1 file?" in said
