"""The test's side of ``gated_agents``: one process of agents, its gate and its record of starts."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from typing import NamedTuple

STARTS_S = 60.0


class Start(NamedTuple):
    """One handler began."""

    task_id: str
    attempt: int
    agent_id: str


class GatedFleet:
    """A process of agents that hold their tasks until ``go``."""

    def __init__(self, address: str, prefix: str, agents: int, slots: int) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.support.gated_agents",
            address,
            prefix,
            str(agents),
            str(slots),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.starts: list[Start] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put("")

    def _take(self, line: str) -> None:
        word, task_id, attempt, agent_id = line.split()
        if word != "start":
            message = f"not a start: {line!r}"
            raise ValueError(message)
        self.starts.append(Start(task_id, int(attempt), agent_id))

    def wait_for_starts(self, count: int) -> None:
        """Wait until so many handlers have begun in all."""
        while len(self.starts) < count:
            line = self._lines.get(timeout=STARTS_S)
            if not line:
                message = f"the agents ended after {len(self.starts)} starts"
                raise RuntimeError(message)
            self._take(line)

    def go(self) -> None:
        """Open the gate."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL; the starts that were written before stay known."""
        self._process.kill()
        self._finish()

    def close(self) -> None:
        """End it in peace."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._finish()

    def _finish(self) -> None:
        try:
            self._process.wait(timeout=30)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        while not self._lines.empty():
            line = self._lines.get()
            if line:
                self._take(line)
