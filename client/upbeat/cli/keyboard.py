"""Single keys from the terminal while a live view is drawn."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ReadKeys = Callable[[float], list[str]]
"""Waits up to so many seconds for keys, each by its character or its name; none when none was pressed."""

_NAMES = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[C": "right",
    "\x1bOC": "right",
    "\x1b[D": "left",
    "\x1bOD": "left",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
    "\x1b[Z": "tab",
    "\x1b": "escape",
    "\x04": "escape",
    "\t": "tab",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
}
# A sequence that nobody knows is one key, not the letters that it is made of.
_KEY = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|.", re.DOTALL)


def named_keys(text: str) -> list[str]:
    """What was typed, key by key; sequences of other keys are left out."""
    keys = (_NAMES.get(key, key) for key in _KEY.findall(text))
    return [key for key in keys if not key.startswith("\x1b")]


@contextmanager
def keys() -> Iterator[ReadKeys]:
    """Keys without Enter and without echo; the terminal is put back as it was.

    Where standard input is not a terminal no key is ever pressed.
    """
    if not sys.stdin.isatty():
        yield _no_key
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read(timeout_s: float) -> list[str]:
        ready, _, _ = select.select([descriptor], [], [], timeout_s)
        if not ready:
            return []
        typed = os.read(descriptor, 1_024)
        return named_keys(typed.decode(errors="replace")) if typed else ["escape"]

    try:
        tty.setcbreak(descriptor)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_key(timeout_s: float) -> list[str]:
    time.sleep(timeout_s)
    return []
