"""A draft, a vote on it, and its publication: `python nested.py [HOST:PORT] [--stay]`.

With --stay its agents go on working, for the same as a file:
`upbeat tasks submit --file collaboration.yaml --wait`.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass

import upbeat
from upbeat import Agent, Client, Context, Skill


@dataclass
class Draft:
    """A text about a topic."""

    text: str


@dataclass
class Review:
    """What a reviewer thinks of it."""

    approved: bool
    note: str


DRAFT = Skill("draft", str, Draft)
REVIEW = Skill("review", Draft, Review)
PUBLISH = Skill("publish", Review, str)

ARTICLE = upbeat.sequence(
    upbeat.step(DRAFT, timeout=20),
    upbeat.step(upbeat.consensus(REVIEW, voters=3, vote="/approved"), name="vote"),
    PUBLISH,
    context="all",
)


def author(name: str) -> Agent:
    """An agent that writes and publishes."""
    agent = Agent(name, slots=2)

    @agent.on(DRAFT)
    async def draft(topic: str) -> Draft:
        return Draft(f"All there is to know about {topic}.")

    @agent.on(PUBLISH)
    async def publish(review: Review, ctx: Context) -> str:
        """It is given the verdict; the draft is the first of the outputs so far."""
        if not review.approved:
            return f"{ctx.original} was turned down: {review.note}"
        return f"published {ctx.context['outputs'][0]['text']!r}: {review.note}"

    return agent


def reviewer(name: str, forbidden: str) -> Agent:
    """An agent that does not like a word."""
    agent = Agent(name)

    @agent.on(REVIEW)
    async def review(draft: Draft) -> Review:
        is_fine = forbidden not in draft.text
        return Review(is_fine, "fine" if is_fine else f"says {forbidden!r}")

    return agent


async def main(address: str | None, *, stay: bool) -> None:
    """An article that is published, and one that is not."""
    agents = [author("author"), reviewer("anna", "war"), reviewer("ben", "tax"), reviewer("carl", "know")]
    for agent in agents:
        await agent.start(address)
    async with Client(address) as up:
        for topic in ("gardens", "war and taxes"):
            task = await up.submit(ARTICLE, topic, timeout=60)
            print(await task.result())
            print(f"  see how: upbeat tasks tree {task.task_id}")
    if stay:
        print("the agents stay; Ctrl-C ends them")
        await asyncio.Event().wait()
    for agent in agents:
        await agent.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A draft, a vote on it, and its publication.")
    parser.add_argument("address", nargs="?", help="HOST:PORT of the server")
    parser.add_argument("--stay", action="store_true", help="leave the agents running")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.address, stay=arguments.stay))
