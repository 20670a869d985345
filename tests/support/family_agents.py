"""SDK agents in a process of their own that work on the children of nested collaborations.

``python -m tests.support.family_agents ADDRESS FACT_FILE PROCESS SLOTS AGENT_ID...`` notes each start.
What they answer depends on the input and on what a child is to its collaboration (``member``) alone: not
on the agent, the attempt or the time. So a family has one outcome, whatever happens to its server.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import Any

import upbeat
from tests.support.facts import FactFile, Worked
from tests.support.recorded_agents import serve
from upbeat import Abstain, Agent, Context, Fail, Kind

TYPES = ("ballot", "part", "polish", "pack", "ship")
WORK_S = (0.002, 0.02)


def family() -> Kind[Any, Any]:
    """A vote, then parts at the same time, each of two steps, then the parts through two stages."""
    parts = upbeat.sequence("part", "polish")
    stages = upbeat.pipeline("pack", "ship", on_item_failure="dead_letter", buffer=1, stage_concurrency=2)
    return upbeat.sequence(
        # Asking all: which ballots are in the tally of an early decision is a matter of time.
        upbeat.consensus("ballot", voters=3, vote="/label", early_decision=False),
        upbeat.parallel(parts, map_over="/items", join="settled", failure_policy="collect"),
        stages.over_input(),
        context="previous",
    )


def answered(task_type: str, member: str, value: Any) -> Any:
    """What an agent answers; raises Fail where it has no answer."""
    match task_type:
        case "ballot":
            return _ballot(int(member.rpartition("/")[2]), value["number"])
        case "part":
            if value % 13 == 12:
                raise Fail("BROKEN_PART", f"part {value} is broken", retryable=False)
            return {"part": value, "square": value * value}
        case "polish":
            return {**value, "polished": member}
        case "pack":
            if value is None:
                raise Fail("NOTHING", "there is nothing to pack", retryable=False)
            return {"packed": value}
        case _:
            return {"shipped": value, "as": member}


def _ballot(voter: int, number: int) -> dict[str, Any]:
    """Mostly two of three agree, now and then all do; some votes have no majority, some an abstention."""
    if number % 10 == 8 and voter == 0:
        raise Abstain("no opinion")
    label = "red" if number % 2 else "blue"
    if voter == number % 4:
        label = "grey"
    if number % 10 == 9:
        label = f"only {voter}"
    return {"label": label, "items": list(range(number, number + 1 + number % 4)), "by": voter}


def make(agent_id: str, slots: int, file: FactFile | None = None) -> Agent:
    """An agent for all types, which takes a moment for each piece of work."""
    agent = Agent("family", agent_id=agent_id, slots=slots)

    async def work(value: Any, ctx: Context) -> Any:
        if file is not None:
            file.note(Worked(key=ctx.idempotency_key, task_id=ctx.task_id, agent_id=agent_id))
        member = ctx.idempotency_key.split("/", 2)[2]
        await asyncio.sleep(Random(f"{ctx.type} {member} {value}").uniform(*WORK_S))
        return answered(ctx.type, member, value)

    for task_type in TYPES:
        agent.on(task_type)(work)
    return agent


async def main(address: str, file: str, _process: str, slots: str, *agent_ids: str) -> None:
    """Serve until standard input ends; then the process is gone without a goodbye."""
    facts = FactFile(Path(file))
    await serve([make(agent_id, int(slots), facts) for agent_id in agent_ids], address)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
