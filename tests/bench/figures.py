"""Figures: percentiles, the JSON file, the table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.bench.machine import machine


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    unit: str
    facts: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """A row that could not be measured, and why in a few words."""

    name: str
    why: str


Outcome: TypeAlias = Figure | Missing


def percentile(samples: list[float], share: float) -> float:
    """The smallest sample that ``share`` (0 to 1) of all do not exceed; 0 for none."""
    if not samples:
        return 0.0
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latencies(name: str, samples_s: list[float], **facts: float | str) -> list[Figure]:
    """p50, p99 and the largest of some latencies, in ms."""
    return [
        Figure(f"{name}.{label}", round(percentile(samples_s, share) * 1_000, 3), "ms", facts)
        for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    ]


def write(figures: list[Figure], out: Path) -> None:
    """Write all figures with what is needed to read them later."""
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "figures": {figure.name: asdict(figure) for figure in figures}}
    out.write_text(json.dumps(document, indent=2) + "\n")


def shown(facts: dict[str, float | str]) -> str:
    """Facts in one line."""
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in facts.items()
    )


def table(figures: list[Figure]) -> str:
    """The figures as Markdown."""
    lines = ["| figure | value | unit | |", "|---|---:|---|---|"]
    lines += [
        f"| {figure.name} | {figure.value:,.10g} | {figure.unit} | {shown(figure.facts)} |"
        for figure in figures
    ]
    return "\n".join(lines)
