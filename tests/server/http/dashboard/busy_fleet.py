"""A fleet that is never done, for people who look: python -m tests.server.http.dashboard.busy_fleet ADDRESS.

Types of different lengths, failures and retries, work that nobody can do, collaborations in each other,
messages that nobody acknowledges. What happens is drawn from a seed; when it happens is not.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

import upbeat
from upbeat import Agent, Client, Context, Fail, Retry

RUN_S = {"summarize": 1.2, "classify": 0.3, "translate": 0.8, "embed": 0.12, "review": 2.0, "draft": 1.5}
FAILURES = {"translate": 0.06, "review": 0.12}
TEAMS = {
    "writer": ["summarize", "draft", "translate"],
    "reader": ["classify", "embed"],
    "critic": ["review", "classify"],
}
REGIONS = ("eu-west", "us-east", "ap-south")
LINES = ("reading the sources", "comparing claims", "writing it down", "checking the references")
STORY = "Agents work together here, and everybody who cares can see what they do. "

ARTICLE = upbeat.sequence(
    upbeat.step("draft", name="draft"),
    upbeat.step(upbeat.consensus("review", voters=3, vote="/approved"), name="vote"),
    upbeat.step(upbeat.parallel("translate", "translate"), name="translations"),
)


class BusyFleet:
    """Agents, and callers that never stop asking."""

    def __init__(self, address: str, *, agents: int = 12, pace: float = 1.0, seed: int = 1) -> None:
        """With a pace of 2 everything is twice as fast."""
        self._address = address
        self._random = random.Random(seed)
        self._pace = pace
        self.agents = [self._agent(number) for number in range(agents)]

    def _agent(self, number: int) -> Agent:
        team = list(TEAMS)[number % len(TEAMS)]
        agent = Agent(
            team,
            slots=self._random.choice((2, 3, 4)),
            labels={"region": REGIONS[number % len(REGIONS)], "team": team},
            agent_id=f"{team}-{number + 1:02}",
        )
        for kind in TEAMS[team]:
            agent.on(kind)(self._handler(kind))
        return agent

    def _handler(self, kind: str) -> Any:
        async def work(value: Any, ctx: Context) -> Any:
            for step, line in enumerate(LINES):
                await self._rest(RUN_S[kind] * self._random.uniform(0.4, 1.9) / len(LINES))
                await ctx.progress((step + 1) / len(LINES), line)
                if kind == "draft":
                    await ctx.emit(STORY)
            if self._random.random() < FAILURES.get(kind, 0):
                raise Fail("MODEL_OVERLOADED", f"the model behind {kind} answered 529 to the last request")
            return self._answer(kind, value)

        return work

    def _answer(self, kind: str, value: Any) -> Any:
        if kind == "classify":
            label = self._random.choices(("billing", "outage", "praise"), (7, 2, 1))[0]
            return {"label": label, "confidence": 0.91}
        if kind == "review":
            is_fine = self._random.random() < 0.75
            return {
                "approved": is_fine,
                "note": "Well argued." if is_fine else "The second claim has no source.",
            }
        return {"text": f"{kind} of {str(value)[:60]}", "tokens": self._random.randrange(80, 900)}

    async def run(self) -> None:
        """Work until cancelled."""
        for agent in self.agents:
            await agent.start(self._address)
        async with Client(self._address) as up, asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(self._ask(up))
            group.create_task(self._collaborate(up))
            group.create_task(self._talk(up))
            group.create_task(self._puzzle(up))

    async def _ask(self, up: Client) -> None:
        while True:
            kind = self._random.choices(("summarize", "classify", "translate", "embed"), (3, 5, 2, 6))[0]
            priority: Any = self._random.choices(("low", "normal", "high", "critical"), (3, 8, 2, 1))[0]
            document = {"document": f"ticket {self._random.randrange(10_000, 99_999)}", "language": "en"}
            labels = {"team": self._random.choice(("a", "b", "c")), "source": "inbox"}
            await up.submit(kind, document, priority=priority, labels=labels, retry=Retry(max_attempts=2))
            # In bursts, as people do.
            longest = 0.04 if self._random.random() < 0.3 else 0.55
            await self._rest(longest * self._random.random())

    async def _collaborate(self, up: Client) -> None:
        vote = upbeat.consensus("classify", voters=5, vote="/label")
        while True:
            await up.submit(vote, {"ticket": "my bill is wrong"}, priority="high", labels={"team": "support"})
            await up.submit(upbeat.race("summarize", candidates=2), {"document": "annual report"})
            await up.submit(ARTICLE, {"topic": "how orchestras keep time"}, labels={"team": "editors"})
            pages = [{"page": number} for number in range(8)]
            await up.submit(upbeat.parallel("embed", map_over=""), pages)
            await self._rest(4)

    async def _talk(self, up: Client) -> None:
        while True:
            ticket = {"ticket": self._random.randrange(1_000), "closed_by": "writer-01"}
            await up.publish("tickets.closed", ticket)
            await self._rest(0.5)

    async def _puzzle(self, up: Client) -> None:
        """What somebody would come to the dashboard for."""
        await up.submit("transcribe", {"audio": "call-17.wav"}, priority="high")
        await up.submit("summarize", {"document": "secret"}, selector='labels.region == "moon"')
        while True:
            await up.submit("review", {"document": "draft 7"}, retry=Retry(max_attempts=1), priority="low")
            await self._rest(5)

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._pace)


if __name__ == "__main__":
    asyncio.run(BusyFleet(sys.argv[1]).run())
