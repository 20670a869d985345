"""Agents in a process of their own that hold their tasks until they are told to go on.

``python -m tests.support.gated_agents ADDRESS PREFIX AGENTS SLOTS`` connects
``AGENTS`` SDK agents for the task type ``gated``. The start of every handler is
one line on standard output, ``start TASK_ID ATTEMPT AGENT_ID``: a record that is
outside the server. The line ``go`` on standard input opens the gate for all
tasks, present and to come; the end of standard input ends the process.
"""

from __future__ import annotations

import asyncio
import sys

from upbeat import Agent, Context


async def main(address: str, prefix: str, agents: int, slots: int) -> None:
    """Connect, and live until standard input ends."""
    gate = asyncio.Event()

    def make(number: int) -> Agent:
        agent = Agent("gated", agent_id=f"{prefix}-{number}", slots=slots)

        @agent.on("gated")
        async def hold(value: bytes, ctx: Context) -> bytes:
            sys.stdout.write(f"start {ctx.task_id} {ctx.attempt} {agent.agent_id}\n")
            sys.stdout.flush()
            await gate.wait()
            return value

        return agent

    lives = [asyncio.create_task(make(number).serve(address)) for number in range(agents)]
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line == "go\n":
            gate.set()
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
