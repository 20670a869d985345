"""An agent of the demo, as a user would write one: it needs the SDK and nothing else of the server.

``python -m upbeat_server.commands.demo.agents --name a --slots 2 --skill review.parse``
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

from upbeat import Abstain, Agent, Context, Fail, Skill
from upbeat_server.commands.demo import ballots, reviews, search, skills, stages
from upbeat_server.commands.demo.ballots import LENSES, Ballot, Shortlist
from upbeat_server.commands.demo.roster import Profile
from upbeat_server.commands.demo.search import Found, Query

REVIEWERS: dict[str, tuple[Skill[Any, Any], Callable[[Any], Any]]] = {
    skills.SHAPE.name: (skills.SHAPE, reviews.review_shape),
    skills.COMPLEXITY.name: (skills.COMPLEXITY, reviews.review_complexity),
    skills.DOCSTRINGS.name: (skills.DOCSTRINGS, reviews.review_docstrings),
    skills.IMPORTS.name: (skills.IMPORTS, reviews.review_imports),
    skills.SUMMARY.name: (skills.SUMMARY, reviews.summarize),
}


STAGES: tuple[tuple[Skill[Any, Any], Callable[[Any], Any]], ...] = (
    (skills.FETCH, stages.fetch),
    (skills.MEASURE, stages.measure),
    (skills.DIGEST, stages.digest),
)


def build_agent(profile: Profile) -> Agent:
    """An agent that offers the skills of its profile, and with all others to vote, to search and the stages.

    A pause before each task makes it a slow one.
    """
    pause_s = profile.pause_ms / 1000
    labels = {"speed": "slow" if pause_s else "fast", "lens": profile.lens}
    agent = Agent(profile.name, agent_id=profile.name, slots=profile.slots, labels=labels)
    for skill, work in (*(REVIEWERS[name] for name in profile.skills), *STAGES):
        _offer(agent, skill, work, pause_s)
    _offer_to_vote(agent, profile.lens, pause_s)
    _offer_to_find(agent, pause_s)
    return agent


def _offer(agent: Agent, skill: Skill[Any, Any], review: Callable[[Any], Any], pause_s: float) -> None:
    # Not a coroutine: it runs in a thread, so that reading and parsing block nobody else.
    @agent.on(skill)
    def work(subject: Any, context: Context) -> Any:  # noqa: ARG001 - a review is too short to report progress
        if pause_s:
            time.sleep(pause_s)
        return review(subject)


def _offer_to_vote(agent: Agent, lens: str, pause_s: float) -> None:
    @agent.on(skills.RISKIEST)
    def vote(shortlist: Shortlist, context: Context) -> Ballot:  # noqa: ARG001 - as above
        if pause_s:
            time.sleep(pause_s)
        ballot = ballots.ballot_of(shortlist, lens)
        if ballot is None:
            raise Abstain("none of the files can be parsed")
        return ballot


def _offer_to_find(agent: Agent, pause_s: float) -> None:
    @agent.on(skills.FIND)
    def find(query: Query, context: Context) -> Found:
        if pause_s:
            time.sleep(pause_s)
        found = search.find(query, context.raise_if_cancelled)
        if found is None:
            raise Fail("NOT_FOUND", f"no file defines {query.function}", retryable=False)
        return found


def main() -> None:
    """Run one agent until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="localhost:50051", metavar="HOST:PORT")
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--skill", action="append", required=True, choices=sorted(REVIEWERS))
    parser.add_argument("--pause-ms", type=int, default=0, help="wait this long before each task")
    parser.add_argument("--lens", default=next(iter(LENSES)), choices=list(LENSES), help="how it votes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # What the compiler thinks of the files under review is not asked.
    profile = Profile(options.name, options.slots, tuple(options.skill), options.pause_ms, options.lens)
    build_agent(profile).run(options.server)


if __name__ == "__main__":
    main()
