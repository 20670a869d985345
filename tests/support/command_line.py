"""The command line as a function, for tests: what was printed where, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EVIL = "[red]not red[/red] \x1b[2J\x9b31m \u202etxt"
"""What a hostile task would like to write to a terminal."""


@dataclass(frozen=True)
class Outcome:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The lines of standard output in words."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        """Standard output as one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


CommandLine = Callable[..., Outcome]


def is_harmless(text: str) -> bool:
    """Whether a terminal would show it and do nothing else."""
    return not any(
        (ord(character) < 32 and character != "\n")
        or 0x7F <= ord(character) < 0xA0
        or character in "\u202a\u202b\u202c\u202d\u202e"
        for character in text
    )
