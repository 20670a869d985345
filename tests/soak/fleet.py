"""Agents made with the SDK in a process of their own, to be killed.

``python -m tests.soak.fleet ADDRESS PREFIX AGENTS SEED``
"""

from __future__ import annotations

import asyncio
import sys
from random import Random

from tests.soak.agents import REGIONS, TYPES
from upbeat import Agent, Context, Fail

SLOTS = 8


def make(name: str, rng: Random) -> Agent:
    """An agent that can do everything, now and then badly."""
    agent = Agent(name, agent_id=name, slots=SLOTS, labels={"region": rng.choice(REGIONS)})
    agent.offer("gpu")
    for task_type in TYPES:

        @agent.on(task_type)
        async def work(value: bytes, ctx: Context) -> bytes:
            await asyncio.sleep(rng.expovariate(1 / 0.03))
            if rng.random() < 0.2:
                await ctx.progress(0.5, "half")
            if rng.random() < 0.05:
                raise Fail("FLAKY", "planned")
            return value[::-1]

    return agent


async def main(address: str, prefix: str, agents: int, seed: str) -> None:
    """Serve until standard input ends, then leave with goodbyes; or until killed."""
    rng = Random(f"{seed}/{prefix}")
    fleet = [make(f"{prefix}-{number}", rng) for number in range(agents)]
    lives = [asyncio.create_task(agent.serve(address)) for agent in fleet]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
