"""The test's side of ``recorded_agents``: a process that is killed, stopped, started again, and its facts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.support.facts import FactReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.support.facts import Fact

LOOK_AGAIN_S = 0.02


class RecordedFleet:
    """One process of agents at a time; its facts are kept over all of them."""

    module = "tests.support.recorded_agents"

    def __init__(
        self,
        address: str,
        folder: Path,
        agent_ids: Sequence[str],
        *,
        slots: int = 8,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.agent_ids = list(agent_ids)
        self.kills: list[int] = []  # When a process was killed, on the clock of the facts.
        self._address = address
        self._folder = folder
        self._slots = slots
        self._prefix = list(prefix)
        self._environment = environment
        self._readers: list[FactReader] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, agent_ids: Sequence[str] = ()) -> None:
        """Start a process, with other agents if they are named."""
        if self._process is not None:
            self._end()
        self.agent_ids = list(agent_ids) or self.agent_ids
        name = f"{self.agent_ids[0]}.{len(self._readers)}"
        path = self._folder / f"{name}.jsonl"
        self._readers.append(FactReader(path))
        command = [*self._prefix, sys.executable, "-m", self.module, self._address]
        command += [str(path), name, str(self._slots), *self.agent_ids]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=self._environment
            )

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self.kills.append(time.monotonic_ns())
            self._process.kill()
            self._end()

    def pause(self) -> None:
        """SIGSTOP."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it in peace, and wait until it is gone."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        finally:
            self._process.kill()
            self._end()

    def facts(self) -> list[Fact]:
        """What its processes have noted so far, the first process first."""
        return [fact for reader in self._readers for fact in reader.read()]

    def wait_for(self, done: Callable[[list[Fact]], bool], timeout_s: float = 60.0) -> None:
        """Wait until the facts satisfy ``done``. Raises TimeoutError, or RuntimeError if it has ended."""
        until = time.monotonic() + timeout_s
        while not done(self.facts()):
            if time.monotonic() > until:
                raise TimeoutError(f"not within {timeout_s:g} s, after {len(self.facts())} facts")
            if self._running().poll() is not None:
                raise RuntimeError(f"the agents have ended: {self._log()}")
            time.sleep(LOOK_AGAIN_S)  # A file tells nobody that it has grown.

    def _log(self) -> str:
        return "".join(path.read_text(errors="replace")[-500:] for path in self._folder.glob("*.log"))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the agents do not run")
        return self._process

    def _end(self) -> None:
        """Its process is gone, or about to be."""
        process, self._process = self._running(), None
        process.wait(timeout=30)
        if process.stdin is not None:
            process.stdin.close()
