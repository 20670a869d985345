"""SDK agents in a process of their own that write down what they are handed, do and are told.

``python -m tests.support.recorded_agents ADDRESS FACT_FILE PROCESS SLOTS AGENT_ID...`` serves the
task type ``work``. An input is JSON: ``{"id": ..., "ms": how long it works, "fails": how many
attempts fail, "deaf": whether it outlives being told to stop, "ms_of": how long it works on agents
whose ids begin so}``. The output is ``input|lease_id``, so that it tells which attempt it comes
from. Every third result of a lease that was taken away is sent all the same, as an agent would that
has not heard of it yet. The end of standard input ends the process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import upbeat.agent
from tests.support.facts import Assigned, Began, FactFile, Judged, Reported, Stopped
from upbeat import Agent, Context, Fail
from upbeat.effects import Start, Stop
from upbeat.session import Session
from upbeat.v1 import agent_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat.effects import Effect

STUBBORN_EVERY = 3


class RecordedSession(Session):
    """The SDK's session, with a record of what goes in and out."""

    file: FactFile
    process: str

    def received(self, frame: wire.ConnectResponse) -> list[Effect]:
        """Note what the server said, then what becomes of it."""
        agent_id = self.identity.agent_id
        for ack in frame.result_acks:
            outcome = wire.ResultAck.Outcome.Name(ack.outcome).removeprefix("OUTCOME_")
            self.file.note(Judged(agent_id=agent_id, lease_id=ack.lease_id, outcome=outcome))
        late = [
            result
            for lease_id in frame.welcome.dropped_leases
            if self._is_stubborn(lease_id) and (result := self.results._by_lease.get(lease_id))
        ]
        effects = super().received(frame)
        for result in late:
            self.results.keep(result)
        for effect in effects:
            if isinstance(effect, Start):
                given = effect.assignment
                self.file.note(
                    Assigned(
                        agent_id=agent_id,
                        process=self.process,
                        task_id=given.task_id,
                        lease_id=given.lease_id,
                        attempt=given.attempt,
                    )
                )
            elif isinstance(effect, Stop):
                self.file.note(Stopped(agent_id=agent_id, lease_id=effect.lease_id, reason=effect.reason))
        return effects

    def finish(self, result: wire.AttemptResult) -> None:
        """A lease that was taken away is sometimes reported all the same."""
        attempt = self.attempts.get(result.lease_id)
        is_late = attempt is not None and attempt.is_dropped and self._is_stubborn(result.lease_id)
        super().finish(result)
        if is_late:
            self.results.keep(result)

    def next_frame(self, now_ms: int) -> wire.ConnectRequest | None:
        """Note the results that are about to leave."""
        frame = super().next_frame(now_ms)
        for result in frame.results if frame is not None else ():
            is_output = result.WhichOneof("result") == "output"
            output = result.output.data.decode() if is_output else None
            agent_id = self.identity.agent_id
            self.file.note(Reported(agent_id=agent_id, lease_id=result.lease_id, output=output))
        return frame

    @staticmethod
    def _is_stubborn(lease_id: str) -> bool:
        return int(lease_id, 16) // 0x10000 % STUBBORN_EVERY == 0


def make(agent_id: str, slots: int) -> Agent:
    """An agent that works as its inputs say."""
    agent = Agent("worker", agent_id=agent_id, slots=slots)

    @agent.on("work")
    async def work(value: Any, ctx: Context) -> bytes:
        text = value.decode() if isinstance(value, bytes) else json.dumps(value)
        RecordedSession.file.note(
            Began(
                agent_id=agent_id,
                process=RecordedSession.process,
                task_id=ctx.task_id,
                lease_id=ctx.lease_id,
                attempt=ctx.attempt,
            )
        )
        order = json.loads(text)
        own_ms = [ms for prefix, ms in order.get("ms_of", {}).items() if agent_id.startswith(prefix)]
        try:
            await asyncio.sleep((*own_ms, order["ms"])[0] / 1000)
        except asyncio.CancelledError:
            if not order.get("deaf"):
                raise
        if ctx.attempt <= order.get("fails", 0):
            raise Fail("PLANNED", "this attempt fails")
        return f"{text}|{ctx.lease_id}".encode()

    return agent


async def main(address: str, file: str, process: str, slots: str, *agent_ids: str) -> None:
    """Serve until standard input ends; then the process is gone without a goodbye."""
    RecordedSession.file = FactFile(Path(file))
    RecordedSession.process = process
    upbeat.agent.Session = RecordedSession  # type: ignore[attr-defined]
    await serve([make(agent_id, int(slots)) for agent_id in agent_ids], address)


async def serve(agents: Iterable[Agent], address: str) -> None:
    """Until standard input ends. Raises what an agent raises."""
    lives = [asyncio.create_task(agent.serve(address)) for agent in agents]
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def wait_for_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set_result, None)

    threading.Thread(target=wait_for_end, daemon=True).start()  # It keeps no process that failed.
    done, _ = await asyncio.wait([ended, *lives], return_when=asyncio.FIRST_COMPLETED)
    for life in done - {ended}:
        life.result()
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
