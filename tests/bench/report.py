"""What a run of the benchmark came to: rows, ratios, targets, as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tests.bench.figures import Figure, Missing, shown
from tests.bench.ratios import ratios
from tests.bench.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = "| figure | value | unit | target | facts |\n|---|---:|---|---|---|"


@dataclass(frozen=True)
class Failed:
    """A scenario that broke, and why in a few words."""

    name: str
    why: str


Row: TypeAlias = Figure | Missing | Failed


def judged(figure: Figure) -> str:
    """The target of a figure and whether it is met; empty without one."""
    target = TARGETS.get(figure.name)
    if target is None:
        return ""
    return f"{target}: {'met' if target.is_met(figure.value) else 'not met'}"


def line(row: Row) -> str:
    """One row of the table."""
    if isinstance(row, Figure):
        # A bar would end the column.
        facts = shown(row.facts).replace("|", "/")
        return f"| {row.name} | {row.value:,.10g} | {row.unit} | {judged(row)} | {facts} |"
    word = "missing" if isinstance(row, Missing) else "failed"
    why = " ".join(row.why.split()).replace("|", "/")
    return f"| {row.name} | {word}: {why} | | | |"


@dataclass
class Report:
    """The rows of a run in the order they were measured."""

    machine: dict[str, object]
    is_quick: bool = False
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Take a row up."""
        self.rows.append(row)

    @property
    def figures(self) -> list[Figure]:
        """What was measured."""
        return [row for row in self.rows if isinstance(row, Figure)]

    @property
    def ratios(self) -> list[Figure]:
        """Ratios between what was measured."""
        return list(ratios(self.figures))

    @property
    def exit_code(self) -> int:
        """1 if a scenario failed; what is missing, or beyond a target, fails nothing."""
        return int(any(isinstance(row, Failed) for row in self.rows))

    def table(self) -> str:
        """Everything as Markdown."""
        machine = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        parts = [f"{'quick' if self.is_quick else 'full'} run on: {machine}", "", HEAD]
        parts += [line(row) for row in self.rows]
        if found := self.ratios:
            parts += ["", HEAD.replace("figure", "ratio")]
            parts += [line(ratio) for ratio in found]
        return "\n".join(parts)

    def document(self) -> dict[str, object]:
        """Everything as JSON has it, by name."""
        return {
            "kind": "quick" if self.is_quick else "full",
            "machine": self.machine,
            "figures": dict(map(entry, self.figures)),
            "ratios": dict(map(entry, self.ratios)),
            "missing": dict(self._reasons(Missing)),
            "failed": dict(self._reasons(Failed)),
        }

    def _reasons(self, kind: type[Missing | Failed]) -> Iterator[tuple[str, str]]:
        for row in self.rows:
            if not isinstance(row, Figure) and isinstance(row, kind):
                yield row.name, row.why

    def write(self, folder: Path) -> None:
        """Write ``latest.json`` and ``latest.md``; what an older run left there is gone."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "latest.json").write_text(json.dumps(self.document(), indent=2) + "\n")
        (folder / "latest.md").write_text(self.table() + "\n")


def entry(figure: Figure) -> tuple[str, dict[str, object]]:
    """A figure by its name, with its target where there is one."""
    told: dict[str, object] = {"value": figure.value, "unit": figure.unit, "facts": figure.facts}
    if (target := TARGETS.get(figure.name)) is not None:
        told["target"] = str(target)
        told["met"] = target.is_met(figure.value)
    return figure.name, told
