"""Runs the script of a peer in its environment and makes outcomes of what it prints; nothing outlives it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.figures import Figure, Missing
from tests.bench.peers.environments import Uninstallable, last_line, python_of
from tests.bench.peers.load import children_by_parent, with_descendants

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.bench.figures import Outcome
    from tests.bench.peers.pins import Peer

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / "build" / "bench" / "venvs"
LOGS = ROOT / "build" / "bench" / "logs"
FULL_S_MAX = 180.0
QUICK_S_MAX = 60.0
STOP_S_MAX = 10.0
MEASURES = {"throughput", "p50", "p99"}
WHY_CHARACTERS_MAX = 300
SET_CHILD_SUBREAPER = 36  # prctl(2)


class Failed(Exception):
    """A script did not give its rows; the message says why in one line."""


def _started_since(before: list[int]) -> list[int]:
    """Our children that are not among ``before``, and their descendants."""
    children = children_by_parent().get(os.getpid(), [])
    return with_descendants([pid for pid in children if pid not in before])


@contextlib.contextmanager
def sweep() -> Iterator[None]:
    """Kill at the end every process that was started within, however it has detached itself.

    While this lasts, a process whose parent ends becomes a child of this one, so that daemons are found.
    """
    prctl = getattr(
        ctypes.CDLL(None), "prctl", None
    )  # Linux has it; elsewhere the group of the script is all.
    before = children_by_parent().get(os.getpid(), [])
    if prctl is not None:
        prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        ends_at = time.monotonic() + STOP_S_MAX
        while (left := _started_since(before)) and time.monotonic() < ends_at:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                with contextlib.suppress(ChildProcessError):  # Not ours yet: the next round finds it here.
                    os.waitpid(pid, 0)
        if prctl is not None:
            prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def printed(command: list[str], folder: Path, seconds: float, settings: Mapping[str, str]) -> str:
    """What a command printed. Raises Failed when it ends badly or not within its time.

    ``folder`` is its current folder and keeps what it wrote to standard error in ``script.log``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "script.log"
    with sweep(), log.open("wb") as errors, tempfile.TemporaryDirectory(prefix="peer-") as scratch:
        Path(scratch).chmod(0o755)  # A database runs as another user below it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env={**os.environ, **settings, "TMPDIR": scratch},
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"not done within {seconds:g} s") from None
        finally:
            stop_group(process)
    if process.returncode:
        why = last_line(log.read_text(errors="replace"))
        raise Failed(why or f"ended with {process.returncode}")
    return output


def stop_group(process: subprocess.Popen[str]) -> None:
    """Stop what is left of a script's process group, politely first."""
    if process.poll() is None:
        process.terminate()  # The script alone: it stops what it has started.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def figures(name: str, output: str) -> list[Figure]:
    """The figures in the last line of a script's output. Raises Failed when they are not all there."""
    try:
        rows: list[dict[str, Any]] = json.loads(last_line(output))
        found = [
            Figure(f"peer.{name}.{row['measure']}", float(row["value"]), str(row["unit"]), dict(row["facts"]))
            for row in rows
        ]
        measures = {str(row["measure"]) for row in rows}
    except (ValueError, TypeError, KeyError) as error:
        raise Failed(f"printed no rows: {last_line(output)[:80]!r}") from error
    if absent := MEASURES - measures:
        raise Failed(f"printed no {', '.join(sorted(absent))}")
    return found


def outcomes(name: str, peer: Peer, *, quick: bool) -> list[Outcome]:
    """Measure one peer: its three figures, or that it is missing and why. Never raises what a peer causes."""
    try:
        python = python_of(peer, ENVIRONMENTS)
        command = [
            str(python),
            "-m",
            f"tests.bench.peers.{peer.script}",
            name,
            *(["--quick"] if quick else []),
        ]
        settings = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return [*figures(name, printed(command, LOGS / name, QUICK_S_MAX if quick else FULL_S_MAX, settings))]
    except (Failed, Uninstallable, OSError) as error:
        return [Missing(f"peer.{name}", str(error)[:WHY_CHARACTERS_MAX])]
