"""A server, an ordinary caller beside it, and the attack between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any, Self

import msgspec

from tests.abuse import vitals
from tests.abuse.siege import Siege
from tests.abuse.vitals import Vitals
from tests.support.server_process import ServerProcess, free_port

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.abuse.siege import Attack

PER_SECOND = 50.0
SETTLE_S = 20.0
"""How long a server may take to be as it was: a bound on being alive, not a goal."""
DESCRIPTORS_SLACK = 12
"""For the connections of ordinary callers, which come and go."""
RSS_SLACK_MIB = 250.0
"""What an allocator may keep for later, all attacks together."""
RSS_PEAK_MIB = 1_500.0
"""What may be under way: grpc reads ahead up to 12 MiB of a header block that it will refuse, for each
connection.
"""
LINE_BYTES_MAX = 1 << 24


class Outcome(msgspec.Struct):
    """What became of everybody during one attack."""

    calls_s: list[float]
    dispatches_s: list[float]
    failures: list[str]
    counts: dict[str, int]
    goaways: dict[str, int]
    before: Vitals
    after: Vitals
    peak_mib: float
    first_mib: float  # Before the first attack on this server.

    def problems(self) -> list[str]:
        """What ordinary callers noticed, and what did not come back to where it was."""
        before, after = self.before, self.after
        wrong = list(dict.fromkeys(self.failures))
        if after.streams != before.streams:
            wrong.append(f"open streams were {before.streams} and are {after.streams}")
        if after.calls > before.calls + PER_SECOND:
            wrong.append(f"{before.calls} calls were under way and {after.calls} are")
        if after.descriptors > before.descriptors + DESCRIPTORS_SLACK:
            wrong.append(f"{before.descriptors} descriptors were open and {after.descriptors} are")
        if after.unfinished.get("RUNNING", 0) > PER_SECOND:
            wrong.append(f"{after.unfinished['RUNNING']} tasks still run")
        for word, mib, slack in (
            ("in between", self.peak_mib, RSS_PEAK_MIB),
            ("afterwards", after.rss_mib, RSS_SLACK_MIB),
        ):
            if mib > self.first_mib + slack:
                wrong.append(f"resident memory was {self.first_mib:.0f} MiB at first, {mib:.0f} MiB {word}")
        return wrong

    def facts(self) -> dict[str, Any]:
        """For a file."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        return facts


class Scene:
    """One server process and one bystander process."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.http_port = free_port()
        self.server = ServerProcess(
            f"sqlite:{folder}/abuse.db", folder, "--http", f"127.0.0.1:{self.http_port}", *options
        )
        self._bystander: asyncio.subprocess.Process | None = None
        self._first_mib = 0.0

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.server.start)
        self._bystander = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.abuse.bystander",
            self.server.address,
            str(PER_SECOND),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )
        if await self._line() != "ready":
            raise RuntimeError("the bystander did not get ready")
        self._first_mib = (await vitals.look(self.server.pid, self.http_port)).rss_mib
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bystander is not None:
            with contextlib.suppress(ProcessLookupError):
                self._bystander.kill()
            await self._bystander.communicate()
        await asyncio.to_thread(self.server.kill)

    async def besiege(self, attack: Attack, seconds: float, scale: float = 1.0) -> Outcome:
        """Run an attack, and wait until the server is as it was or should have been."""
        await self._report()  # What was before is not of this attack.
        before = await vitals.look(self.server.pid, self.http_port)
        peak = [before.rss_mib]
        sampling = asyncio.create_task(vitals.watch_peak(self.server.pid, peak))
        siege = Siege(self.server.port, seconds, scale)
        try:
            await attack(siege)
            told = await self._report()
        finally:
            sampling.cancel()
        outcome = Outcome(
            calls_s=told["calls"],
            dispatches_s=told["dispatches"],
            failures=told["failures"],
            counts=dict(siege.counts),
            goaways=dict(siege.goaways),
            before=before,
            after=before,
            peak_mib=peak[0],
            first_mib=self._first_mib,
        )
        await self._settle(outcome)
        return outcome

    async def _settle(self, outcome: Outcome) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while True:
                    outcome.after = await vitals.look(self.server.pid, self.http_port)
                    if not outcome.problems():
                        return
                    await asyncio.sleep(0.1)  # The server is asked again; nobody can tell when.

    async def _report(self) -> dict[str, Any]:
        if self._bystander is None or self._bystander.stdin is None:
            raise RuntimeError("the scene is not set")
        self._bystander.stdin.write(b"\n")
        told: dict[str, Any] = json.loads(await self._line())
        return told

    async def _line(self) -> str:
        if self._bystander is None or self._bystander.stdout is None:
            raise RuntimeError("the scene is not set")
        return (await self._bystander.stdout.readline()).decode().rstrip("\n")
