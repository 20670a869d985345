"""A file of recorded ballots."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

FACTS = frozenset({"question_id", "category", "answer", "n_options", "question_chars"})
"""Columns that are no model."""

CHOICES = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Question:
    """The right answer, and what each model chose; "" where it chose nothing."""

    answer: str
    ballots: dict[str, str]


@dataclass(frozen=True)
class Recording:
    """All questions. ``models`` are in the order of their columns."""

    models: tuple[str, ...]
    questions: tuple[Question, ...]

    def accuracy(self, model: str, numbers: frozenset[int]) -> float:
        """The share of these questions that a model answered right."""
        right = sum(self.questions[n].ballots[model] == self.questions[n].answer for n in numbers)
        return right / len(numbers)


def read(path: Path) -> Recording:
    """Read a CSV file, plain or .gz, or the only one of a folder. Raises ValueError if it is no recording."""
    if path.is_dir():
        found = sorted([*path.glob("*.csv"), *path.glob("*.csv.gz")])
        if len(found) != 1:
            raise ValueError(f"{path} holds {len(found)} CSV files where 1 is expected: name the file")
        path = found[0]
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = list(csv.DictReader(content.decode().splitlines()))
    if not rows or "answer" not in rows[0]:
        raise ValueError(f"{path} has no column `answer`, or no rows")
    models = tuple(name for name in rows[0] if name not in FACTS)
    strange = {row[model] for row in rows for model in models} - {"", *CHOICES}
    if strange:
        raise ValueError(f"{path} has ballots that are none of {CHOICES}: {', '.join(sorted(strange)[:5])}")
    return Recording(models, tuple(Question(row["answer"], {m: row[m] for m in models}) for row in rows))
