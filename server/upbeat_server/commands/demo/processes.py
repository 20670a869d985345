"""The processes of the demo: one server and its agents, each in a process of its own.

All are tethered (``tether.py``) and in sessions of their own, so that Ctrl-C
reaches the demo first, which then stops them in order.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

from upbeat_server.commands.demo.roster import Profile

_HERE = "upbeat_server.commands.demo"
_STOP_TIMEOUT_S = 15.0
_LOG_TAIL_BYTES = 4000


class Child:
    """A process that writes to a log file and ends when the demo does."""

    def __init__(self, name: str, folder: Path, arguments: list[str]) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        with self.log_path.open("ab") as log:
            # Arguments are ours, never a user's text for a shell.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", f"{_HERE}.tether", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL: it gets no chance to say anything."""
        self._process.kill()
        self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM, unless it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Wait for its end; killed if it takes too long."""
        self.ask_to_stop()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def log_tail(self) -> str:
        """The last lines it wrote."""
        return self.log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()


def start_server(folder: Path, port: int, http_port: int, store: str) -> Child:
    """``upbeat serve`` on the loopback interface."""
    listen = ["--listen", f"127.0.0.1:{port}", "--http", f"127.0.0.1:{http_port}"]
    return Child("server", folder, ["upbeat_server", "serve", *listen, "--store", store])


def start_agent(folder: Path, port: int, profile: Profile) -> Child:
    """One agent of the roster."""
    arguments = [f"{_HERE}.agents", "--server", f"127.0.0.1:{port}", "--name", profile.name]
    arguments += ["--slots", str(profile.slots), "--pause-ms", str(profile.pause_ms)]
    arguments += ["--lens", profile.lens]
    for skill in profile.skills:
        arguments += ["--skill", skill]
    return Child(profile.name, folder, arguments)


def stop_all(children: list[Child]) -> None:
    """Stop them side by side, in the time of the slowest."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.stop()


def free_port(preferred: int) -> int:
    """``preferred`` if nobody listens there, else any free port."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise OSError("no free port on 127.0.0.1")
