"""The live view on a real (pseudo) terminal."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

TIMEOUT_S = 60


class Terminal:
    """A program on a pseudo terminal of 100 by 30."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.modes = termios.tcgetattr(theirs)
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "upbeat", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        self._theirs = theirs
        self.seen = ""

    def until(self, text: str) -> None:
        """Read until the program has drawn ``text``."""
        while text not in self.seen:
            self.seen += os.read(self._ours, 65_536).decode(errors="replace")

    def press(self, key: bytes) -> None:
        """What a person types."""
        os.write(self._ours, key)

    def ended(self) -> int:
        """The exit code."""
        return self.process.wait(TIMEOUT_S)

    def has_its_modes_back(self) -> bool:
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self._theirs) == self.modes

    def close(self) -> None:
        """End it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture
def top(address: str) -> Iterator[Terminal]:
    terminal = Terminal("top", "--server", address)
    yield terminal
    terminal.close()


def test_top_shows_queue_rates_agents_and_tasks_until_q(top: Terminal) -> None:
    for text in ("q quits", "CRITICAL", "submitted", "tester-1", "TASK"):
        top.until(text)
    top.press(b"q")
    assert top.ended() == 0
    assert top.has_its_modes_back()


def test_top_ends_with_an_interrupt_and_puts_the_terminal_back(top: Terminal) -> None:
    top.until("q quits")
    top.process.send_signal(signal.SIGINT)
    assert top.ended() == 130
    assert top.has_its_modes_back()


def test_top_without_a_server_is_an_error_and_no_empty_screen() -> None:
    terminal = Terminal("top", "--server", "127.0.0.1:1")
    terminal.until("no server answers")
    assert terminal.ended() == 5
    terminal.close()
