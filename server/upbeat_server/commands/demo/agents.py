"""An agent of the demo, as a user would write one: it needs the SDK and nothing else of the server.

``python -m upbeat_server.commands.demo.agents --name a --slots 2 --skill review.parse``
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

from upbeat import Agent, Context, Skill
from upbeat_server.commands.demo import reviews, skills

REVIEWERS: dict[str, tuple[Skill[Any, Any], Callable[[Any], Any]]] = {
    skills.SHAPE.name: (skills.SHAPE, reviews.review_shape),
    skills.COMPLEXITY.name: (skills.COMPLEXITY, reviews.review_complexity),
    skills.DOCSTRINGS.name: (skills.DOCSTRINGS, reviews.review_docstrings),
    skills.IMPORTS.name: (skills.IMPORTS, reviews.review_imports),
    skills.SUMMARY.name: (skills.SUMMARY, reviews.summarize),
}


def build_agent(name: str, slots: int, skill_names: list[str], pause_s: float = 0.0) -> Agent:
    """An agent that offers these skills; ``pause_s`` before each task makes it a slow one."""
    agent = Agent(name, agent_id=name, slots=slots, labels={"speed": "slow" if pause_s else "fast"})
    for skill_name in skill_names:
        _offer(agent, *REVIEWERS[skill_name], pause_s)
    return agent


def _offer(agent: Agent, skill: Skill[Any, Any], review: Callable[[Any], Any], pause_s: float) -> None:
    # Not a coroutine: it runs in a thread, so that reading and parsing block nobody else.
    @agent.on(skill)
    def work(subject: Any, context: Context) -> Any:  # noqa: ARG001 - a review is too short to report progress
        if pause_s:
            time.sleep(pause_s)
        return review(subject)


def main() -> None:
    """Run one agent until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="localhost:50051", metavar="HOST:PORT")
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--skill", action="append", required=True, choices=sorted(REVIEWERS))
    parser.add_argument("--pause-ms", type=int, default=0, help="wait this long before each task")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # What the compiler thinks of the files under review is not asked.
    build_agent(options.name, options.slots, options.skill, options.pause_ms / 1000).run(options.server)


if __name__ == "__main__":
    main()
