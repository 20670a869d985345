"""The processes of a benchmark: a fresh server, agents that are all connected, and how busy they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

STORES = {"durable": "sqlite:{folder}/bench.db", "memory": "memory"}
PATIENCE_S = 120.0
"""A process that has not ended its work by then hangs."""

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ChildFailed(Exception):
    """A process ended, or was ended because it hung, before it said what was expected."""


class Child:
    """A module in a process of its own that speaks in lines: words, or JSON. Ends with the block."""

    def __init__(self, module: str, *arguments: object, patience_s: float = PATIENCE_S) -> None:
        self._module = module
        self._patience_s = patience_s
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._hung = threading.Event()
        self._watchdog = threading.Timer(patience_s, self._give_up)
        self._watchdog.daemon = True
        self._watchdog.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def line(self) -> str:
        """The next line of its standard output. Raises ChildFailed if it ends instead."""
        text = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not text:
            self._process.wait()
            raise ChildFailed(f"{self._module}: {self._last_words()}")
        return text.rstrip("\n")

    def expect(self, word: str) -> None:
        """Read a line that has to be this word. Raises ChildFailed."""
        line = self.line()
        if line != word:
            raise ChildFailed(f"{self._module} said {line!r} where {word!r} was expected")

    def answer(self) -> Any:
        """Read a line of JSON."""
        return json.loads(self.line())

    def _give_up(self) -> None:
        self._hung.set()
        self._process.kill()

    def _last_words(self) -> str:
        if self._hung.is_set():
            return f"has not ended within {self._patience_s:g} s"
        self._errors.seek(0)
        # What is around the lines of an exception group says nothing.
        lines = [stripped for line in self._errors if (stripped := line.strip(" |+-\n"))]
        if not lines:
            return f"ended with exit code {self._process.returncode}"
        # What an error says may take several lines.
        named = [number for number, line in enumerate(lines) if "Error: " in line]
        return " ".join(lines[max(named, default=len(lines) - 1) :])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextmanager
def agents_process(
    module: str, address: str, *arguments: object, patience_s: float = PATIENCE_S
) -> Iterator[Child]:
    """A module whose agents connect; it prints ``ready`` once they have, and ends with its standard input."""
    with Child(module, address, *arguments, patience_s=patience_s) as child:
        child.expect("ready")
        yield child


@contextmanager
def server(store: str, settings: Mapping[str, object] | None = None) -> Iterator[ServerProcess]:
    """A fresh server. ``settings`` are by dotted key."""
    with tempfile.TemporaryDirectory(prefix="upbeat-bench-") as folder:
        address = STORES[store].format(folder=folder)
        with ServerProcess(address, Path(folder), settings=settings) as process:
            yield process


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, all its threads together, in its own code and in the kernel."""
    # The name of the program, in parentheses, may itself hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def machine_cpu_seconds() -> float:
    """CPU time that the whole machine has used, or that was taken from it by its host."""
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / CLOCK_TICKS


class Busy:
    """How busy groups of processes are from now on, and everything else on the machine."""

    def __init__(self, **pids_by_role: Iterable[int]) -> None:
        self._pids = {role: tuple(pids) for role, pids in pids_by_role.items()}
        self._started = time.monotonic()
        self._before = self._used()

    def _used(self) -> dict[str, float]:
        used = {role: sum(map(cpu_seconds, pids)) for role, pids in self._pids.items()}
        return {**used, "others": machine_cpu_seconds() - sum(used.values())}

    def shares(self) -> dict[str, float]:
        """CPU since the start as a share of one core: ``server_cpu`` and so on, the rest ``others_cpu``."""
        seconds = time.monotonic() - self._started
        return {
            # Clocks tick in hundredths: what is left of an idle rest may be less than nothing.
            f"{role}_cpu": max(0.0, round((used - self._before[role]) / seconds, 2))
            for role, used in self._used().items()
        }
