"""Several agents vote on a label, one abstains: `python consensus.py [HOST:PORT]`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from upbeat import Abstain, Agent, Client, NoConsensus, Skill


@dataclass
class Mail:
    """What is to be judged."""

    subject: str
    body: str


@dataclass
class Opinion:
    """A ballot: the vote, and why."""

    label: str
    reason: str


CLASSIFY = Skill("classify", Mail, Opinion)
WORDS = {
    "greedy": ("prize", "winner", "free"),
    "careful": ("prize", "password"),
    "strict": ("prize", "offer", "meeting"),
    "lenient": ("lottery",),
}


def voter(name: str, suspicious: tuple[str, ...]) -> Agent:
    """An agent that finds some words suspicious; one in the fleet for each way to look at it."""
    agent = Agent(name)

    @agent.on(CLASSIFY)
    async def classify(mail: Mail) -> Opinion:
        found = [word for word in suspicious if word in mail.body.lower()]
        return Opinion("spam" if found else "ham", f"found {found}" if found else "nothing found")

    return agent


def abstainer() -> Agent:
    """An agent that has no opinion on mails in which it is not mentioned."""
    agent = Agent("shy")

    @agent.on(CLASSIFY)
    async def classify(_: Mail) -> Opinion:
        raise Abstain("nobody asked me")

    return agent


async def main(address: str | None) -> None:
    """Two votes: one that is decided, one that is not."""
    agents = [*(voter(name, words) for name, words in WORDS.items()), abstainer()]
    for agent in agents:
        await agent.start(address)
    async with Client(address) as up:
        mail = Mail("hello", "You are the winner of a prize!")
        verdict = await up.consensus(
            CLASSIFY, mail, voters=5, vote="/label", early_decision=False, timeout=30
        )
        print(f"{mail.subject!r} is {verdict.value}: {verdict.output.reason}")
        for entry in verdict.tally:
            print(f"  {entry.ballots} for {entry.value}")
        print(f"  {verdict.abstained} abstained, margin {verdict.margin:g}")

        try:
            mail = Mail("lunch", "Let us have a meeting about the offer")
            await up.consensus(CLASSIFY, mail, voters=5, vote="/label", rule="unanimous", timeout=30)
        except NoConsensus as failure:
            told = ", ".join(f"{entry.ballots} for {entry.value}" for entry in failure.tally)
            print(f"{mail.subject!r} has no verdict: {told}")
    for agent in agents:
        await agent.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
