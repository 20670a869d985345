"""What the notes of pauses, of what was learned and of grades must obey; for ``upbeat check``.

Those of the bus, which also depend on each other, have rules of their own (``bus/note_rules.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine import learned, pausing
from upbeat_server.engine.collaboration import grades

if TYPE_CHECKING:
    from collections.abc import Iterator

CELL_KINDS = frozenset((learned.CELL, grades.AGENT_NOTE))
"""Whose keys are a type and an agent."""


def violations(kind: str, key: str, value: bytes) -> Iterator[str]:
    """What is wrong with a note; those of other rooms are passed over."""
    name = f"the note {kind} {key!r}"
    if kind in CELL_KINDS and not all(key.partition(learned.SEPARATOR)):
        yield f"{name} is not of a type and an agent"
    try:
        if kind in learned.KINDS:
            if learned.decode(kind, value).at_ms <= 0:
                yield f"{name} does not say when it was written"
        elif kind == pausing.PAUSE_NOTE:
            if not key or value:
                yield f"{name} is more than the name of a type, or less"
        elif kind == grades.AGENT_NOTE:
            graded, correct = map(int, value.split(b" "))
            if not 0 <= correct <= graded:
                yield f"{name} has {correct} right of {graded}"
        elif kind == grades.TASK_NOTE and (int(key, 16) <= 0 or value not in (b"0", b"1")):
            yield f"{name} is no grade of a task"
    except (msgspec.MsgspecError, ValueError) as error:
        yield f"{name} is damaged: {error}"
