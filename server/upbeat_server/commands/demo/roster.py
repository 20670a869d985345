"""Who takes part in the demo: agents of different skills, slots and speed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import cycle

from upbeat_server.commands.demo import skills
from upbeat_server.commands.demo.ballots import LENSES

_ALL = tuple(skills.PRIORITIES)


@dataclass(frozen=True)
class Profile:
    """What one agent process offers; ``lens`` is what it takes for a risk when it votes."""

    name: str
    slots: int
    skills: tuple[str, ...]
    pause_ms: int = 0
    lens: str = next(iter(LENSES))


_ALLROUNDER = Profile("allrounder", 3, _ALL)
_GENERALIST = Profile("generalist", 2, _ALL, pause_ms=100)
_ANALYST = Profile("analyst", 4, (skills.SHAPE.name, skills.COMPLEXITY.name))
_LIBRARIAN = Profile("librarian", 3, (skills.DOCSTRINGS.name, skills.IMPORTS.name))
_EDITOR = Profile("editor", 2, (skills.SUMMARY.name, skills.SHAPE.name, skills.IMPORTS.name))
_SPECIALISTS = (_ANALYST, _LIBRARIAN, _EDITOR)


def roster(count: int) -> list[Profile]:
    """``count`` agents with numbered names and lenses in turn; allrounders if too few for specialists."""
    if count <= len(_SPECIALISTS):
        kinds = [_ALLROUNDER] * count
    else:
        further = [(_ANALYST, _LIBRARIAN)[place % 2] for place in range(count - len(_SPECIALISTS) - 1)]
        kinds = [_GENERALIST, *_SPECIALISTS, *further]
    seen: Counter[str] = Counter()
    profiles = []
    for kind, lens in zip(kinds, cycle(LENSES), strict=False):
        seen[kind.name] += 1
        profiles.append(replace(kind, name=f"{kind.name}-{seen[kind.name]}", lens=lens))
    return profiles


def victim_of(profiles: list[Profile]) -> Profile | None:
    """Whom to kill half way: a fast one whose work on files other fast ones can take over.

    None where there is nobody else.
    """
    if len(profiles) < 2:
        return None
    fast = [profile for profile in profiles if not profile.pause_ms]

    def orphaned(victim: Profile) -> int:
        others = {skill for profile in fast if profile is not victim for skill in profile.skills}
        return len(set(victim.skills) - others - {skills.SUMMARY.name})

    return min(reversed(fast), key=lambda profile: (orphaned(profile), -profile.slots))
