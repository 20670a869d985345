"""A hedged race: a second agent is asked when the first takes long. `python race.py [HOST:PORT]`."""

from __future__ import annotations

import asyncio
import sys

import upbeat
from upbeat import Agent, Client, Skill

SOLVE = Skill("solve", str, str)
STUCK_S = 10.0


def solver(name: str, is_first: asyncio.Event) -> Agent:
    """An agent of a fleet in which whoever is asked first gets stuck."""
    agent = Agent(name)

    @agent.on(SOLVE)
    async def solve(problem: str) -> str:
        if is_first.is_set():
            is_first.clear()
            print(f"  {name} thinks and thinks")
            try:
                await asyncio.sleep(STUCK_S)
            except asyncio.CancelledError:
                print(f"  {name} is told that another has won")
                raise
        return f"{name} has solved {problem}"

    return agent


async def main(address: str | None) -> None:
    """Two candidates at most, the second only if the first takes long."""
    is_first = asyncio.Event()
    agents = [solver("ada", is_first), solver("bob", is_first)]
    for agent in agents:
        await agent.start(address)
    async with Client(address) as up:
        is_first.set()
        answer = await up.race(
            SOLVE, "the riddle", candidates=2, launch="hedged", hedge_delay=0.2, timeout=30
        )
        print(answer)

        # The same as a value: submitted like a skill, and looked at afterwards.
        is_first.set()
        hedged = upbeat.race(SOLVE, candidates=2, hedge_delay=0.2)
        task = await up.submit(hedged, "the next one", timeout=30)
        answer = await task.result()
        print(answer)
        async for child in task.children():
            print(f"  {child.member}: {child.state}")
    for agent in agents:
        await agent.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
