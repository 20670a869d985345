"""SDK agents whose work takes as long as they are told.

Run as ``python -m tests.bench.timed_agents ADDRESS AGENTS SLOTS FILE``. The input of a ``timed`` task is
``{"ms": [...]}``: how long each stage, or each candidate, works. The output is the input. To FILE goes a
line for each end, ``ended`` or ``stopped``, with the collaboration, what the child is to it, and the time
on the machine's clock in ns.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upbeat import Agent, Context

if TYPE_CHECKING:
    from io import TextIOBase


def timed(name: str, slots: int, file: TextIOBase) -> Agent:
    """One agent."""
    agent = Agent(name, agent_id=name, slots=slots)

    def note(what: str, ctx: Context, member: str) -> None:
        file.write(f"{what} {ctx.parent_task_id} {member} {time.monotonic_ns()}\n")

    @agent.on("timed")
    async def work(value: Any, ctx: Context) -> Any:
        member = ctx.idempotency_key.split("/", 2)[2]
        try:
            await asyncio.sleep(value["ms"][int(member.rpartition("/")[2])] / 1_000)
        except asyncio.CancelledError:
            note("stopped", ctx, member)
            raise
        note("ended", ctx, member)
        return value

    return agent


async def main(address: str, agents: int, slots: int, path: Path) -> None:
    """Connect all, say so, live until standard input ends."""
    with path.open("w", buffering=1) as file:
        fleet = [timed(f"timed-{number}", slots, file) for number in range(agents)]
        await asyncio.gather(*(agent.start(address) for agent in fleet))
        print("ready", flush=True)  # The parent process waits for this line.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
