"""The report of a soak: a table for people, figures for programs, a plot of every series."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tests.soak.samples import FALLING, SERIES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.soak import Outcome
    from tests.soak.verdict import Trend

MIB = 1 << 20
COLUMNS = 3


def write(outcome: Outcome, folder: Path) -> None:
    """``report.md``, ``report.json`` and ``soak.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(text(outcome), encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(figures(outcome), indent=1) + "\n", encoding="utf-8")
    plot(outcome, folder / "soak.png")


def text(outcome: Outcome) -> str:
    """The report for people."""
    samples, tally = outcome.samples, outcome.tally
    lines = [
        "# Soak",
        "",
        f"{samples.seconds[-1]:,.0f} s, {samples.finished:,} tasks finished, seed {outcome.plan.seed}.",
        f"Verdict: {'FAIL' if outcome.faults else 'everything levels off'}.",
        *(f"- {fault}" for fault in outcome.faults),
        "",
        "| series | median | largest | 2nd half | slope a minute (99 %) | grew surely / tolerated | |",
        "|---|---|---|---|---|---|---|",
        *(_row(trend) for trend in outcome.trends),
        "",
        "| what happened | times |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in sorted(tally.done.items())),
        *(f"| refused: {name} | {count:,} |" for name, count in sorted(tally.refused.items())),
        *(f"| ERROR: {name} | {count:,} |" for name, count in sorted(tally.errors.items())),
        "",
        "![every series](soak.png)",
        "",
    ]
    return "\n".join(lines)


def figures(outcome: Outcome) -> dict[str, object]:
    """The report for programs."""
    return {
        "seconds": outcome.samples.seconds[-1],
        "finished": outcome.samples.finished,
        "faults": outcome.faults,
        "trends": [{**asdict(trend), "is_level": trend.is_level} for trend in outcome.trends],
        "done": dict(outcome.tally.done),
        "refused": dict(outcome.tally.refused),
        "errors": dict(outcome.tally.errors),
        "samples": {"seconds": outcome.samples.seconds, **outcome.samples.values},
    }


def plot(outcome: Outcome, path: Path) -> None:
    """Small multiples over the same time, the half that is judged with its slope."""
    mpl.use("Agg")
    rows = -(-len(SERIES) // COLUMNS)
    figure = Figure(figsize=(5 * COLUMNS, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, sharex=True, squeeze=False).ravel()
    minutes = [second / 60 for second in outcome.samples.seconds]
    half = len(minutes) // 2
    for axis, series, trend in zip(axes, SERIES, outcome.trends, strict=False):
        values = outcome.samples.values[series.name]
        axis.plot(minutes, values, color="#4878a8", linewidth=0.8)
        sign = -1 if series.name == FALLING else 1
        middle = sign * trend.median
        width = (minutes[-1] - minutes[half]) / 2
        rise = sign * trend.slope_per_min * width
        axis.plot(
            (minutes[half], minutes[-1]),
            (middle - rise, middle + rise),
            color="#2e7d32" if trend.is_level else "#c62828",
            linewidth=1.8,
        )
        axis.axvspan(minutes[half], minutes[-1], color="0.95", zorder=0)
        axis.set_title(f"{series.name}{'' if trend.is_level else ': FAIL'}", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.grid(visible=True, color="0.9", linewidth=0.5)
        if series.unit == "bytes":
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / MIB:,.1f} MiB"))
    for axis in axes[len(SERIES) :]:
        axis.set_axis_off()
    for axis in axes[-COLUMNS:]:
        axis.set_xlabel("minutes")
    figure.savefig(path, dpi=110)


def _row(trend: Trend) -> str:
    def amount(value: float) -> str:
        if trend.unit == "bytes":
            return f"{value / MIB:,.2f} MiB"
        return f"{value:,.1f}"

    sign = -1 if trend.name == FALLING else 1
    low, high = sorted((sign * trend.slope_low_per_min, sign * trend.slope_high_per_min))
    largest = trend.largest if sign > 0 else -trend.last
    return (
        f"| {trend.name} | {amount(sign * trend.median)} | {amount(largest)}"
        f" | {amount(sign * trend.first)} -> {amount(sign * trend.last)}"
        f" | {amount(sign * trend.slope_per_min)} ({amount(low)} to {amount(high)})"
        f" | {amount(max(0.0, trend.grown))} / {amount(trend.tolerated)}"
        f" | {'level' if trend.is_level else 'FAIL'} |"
    )
