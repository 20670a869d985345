"""Paths of the contract, ``/api/v1/orchestration/tasks/{task_id}:retry``, and what they take from a request.

A variable is one segment, percent-encoded: an id with a slash or a verb's colon in it
is written ``%2F`` and ``%3A``. So a path is matched as it came, before it is decoded.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from upbeat_server.runtime.refused import invalid

_PART: Final = re.compile(r"\{([^}]*)\}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class PathTemplate:
    """One path with variables. Raises ValueError for what is not used in this contract."""

    def __init__(self, text: str) -> None:
        self.text = text
        pieces = _PART.split(text)
        self.variables = pieces[1::2]
        if not all(map(_NAME.fullmatch, self.variables)) or "*" in text:
            raise ValueError(f"{text}: only variables of one segment and one field are supported")
        literals = map(re.escape, pieces[::2])
        self._pattern = re.compile("([^/]+)".join(literals))

    @property
    def weight(self) -> tuple[int, int]:
        """Orders templates: of two that match a path, the one with fewer variables and more text counts."""
        return len(self.variables), -len(self.text)

    def match(self, raw_path: str) -> list[tuple[str, str]] | None:
        """The variables and their values as they came; None if the path is another one."""
        found = self._pattern.fullmatch(raw_path)
        return None if found is None else list(zip(self.variables, found.groups(), strict=True))


def decoded(name: str, text: str) -> str:
    """The value of a variable. Raises Refused."""
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise invalid(name, "is not UTF-8 in the path") from None
