"""What a seed draws: which questions are asked and graded, and who is on which panel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.ballots.recording import Recording

VOTERS = 5
PANELS = 200
"""Of each kind, at most: each is a signature of its own, of which a server bears 1,000."""

GRADED_SHARE = 0.1
RANDOM, LOPSIDED = "random", "one strong, four weak"


@dataclass(frozen=True)
class Panel:
    """Models that vote together."""

    models: tuple[str, ...]

    @property
    def selector(self) -> str:
        """Matches the agents of its models."""
        return f"labels.model in {json.dumps(self.models)}"


@dataclass(frozen=True)
class Draw:
    """Numbers are those of questions; each has a panel of either kind."""

    numbers: tuple[int, ...]
    graded: frozenset[int]
    panels: dict[str, dict[int, Panel]]

    @property
    def scored(self) -> tuple[int, ...]:
        """Those that count: nothing was learned from them."""
        return tuple(number for number in self.numbers if number not in self.graded)


def draw(recording: Recording, seed: str, questions: int) -> Draw:
    """So many questions (0: all), a tenth of them graded, with random panels and lopsided ones."""
    rng = Random(f"{seed}/questions")
    every = range(len(recording.questions))
    numbers = tuple(sorted(rng.sample(every, min(questions or len(every), len(every)))))
    graded = frozenset(rng.sample(numbers, max(1, round(GRADED_SHARE * len(numbers)))))
    ranked = sorted(recording.models, key=lambda model: -recording.accuracy(model, graded))
    strong, weak = ranked[: max(1, len(ranked) // 9)], ranked[-(len(ranked) // 2) :]
    rng = Random(f"{seed}/panels")
    kinds = {
        RANDOM: [Panel(tuple(rng.sample(recording.models, VOTERS))) for _ in range(PANELS)],
        LOPSIDED: [Panel((rng.choice(strong), *rng.sample(weak, VOTERS - 1))) for _ in range(PANELS)],
    }
    return Draw(
        numbers,
        graded,
        {kind: {number: rng.choice(panels) for number in numbers} for kind, panels in kinds.items()},
    )
