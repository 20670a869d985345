"""Whether a series still grows: a robust slope with its confidence, and how much growth matters.

The slope is Theil and Sen's, the median of the slopes of all pairs, which a third of wild
samples cannot move; its confidence interval is that of Kendall's tau. A series FAILS if it
surely grew by more than is tolerated over the stretch that was looked at: the lower end of
the interval counts, so noise does not fail, and the tolerance, so a sure slope of nothing
does not either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

POINTS_MAX = 240
"""Samples that pairs are made of; more are gathered into medians first."""
POINTS_MIN = 5
CONFIDENCE_Z = 2.576
"""Of 99 %, two-sided."""


@dataclass(frozen=True)
class Tolerance:
    """How much a series may grow over the stretch and still be level."""

    absolute: float
    share: float = 0.0  # Of its median.


@dataclass(frozen=True)
class Trend:
    """How a series went over a stretch."""

    name: str
    unit: str
    first: float  # Median of the first tenth of the stretch.
    last: float
    median: float
    largest: float
    slope_per_min: float
    slope_low_per_min: float
    slope_high_per_min: float
    grown: float  # What the slope's lower end comes to over the stretch.
    tolerated: float

    @property
    def is_level(self) -> bool:
        """Whether it levels off."""
        return self.grown <= self.tolerated


def trend(
    name: str, unit: str, seconds: Sequence[float], values: Sequence[float], tolerance: Tolerance
) -> Trend:
    """How a series went. Raises ValueError for too few samples to say."""
    if len(seconds) != len(values) or len(seconds) < POINTS_MIN:
        message = f"{name}: {len(values)} samples at {len(seconds)} times say nothing"
        raise ValueError(message)
    times, levels = _gathered(np.asarray(seconds, float), np.asarray(values, float))
    slope, low, high = theil_sen(times, levels)
    stretch_s = float(times[-1] - times[0])
    tenth = max(1, len(values) // 10)
    median = float(np.median(levels))
    return Trend(
        name=name,
        unit=unit,
        first=float(np.median(values[:tenth])),
        last=float(np.median(values[-tenth:])),
        median=median,
        largest=float(np.max(values)),
        slope_per_min=slope * 60,
        slope_low_per_min=low * 60,
        slope_high_per_min=high * 60,
        grown=low * stretch_s,
        tolerated=max(tolerance.absolute, tolerance.share * abs(median)),
    )


def theil_sen(times: NDArray[np.float64], levels: NDArray[np.float64]) -> tuple[float, float, float]:
    """The slope and the ends of its 99 % confidence interval (Sen 1968)."""
    first, second = np.triu_indices(len(times), k=1)
    slopes = np.sort((levels[second] - levels[first]) / (times[second] - times[first]))
    count = len(times)
    _, ties = np.unique(levels, return_counts=True)
    variance = count * (count - 1) * (2 * count + 5) - np.sum(ties * (ties - 1) * (2 * ties + 5))
    half = CONFIDENCE_Z * np.sqrt(variance / 18)
    low = max(int((len(slopes) - half) / 2), 0)
    high = min(int((len(slopes) + half) / 2) + 1, len(slopes) - 1)
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])


def _gathered(
    times: NDArray[np.float64], levels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most POINTS_MAX points, each the median of neighbours."""
    if len(times) <= POINTS_MAX:
        return times, levels
    parts = np.array_split(np.arange(len(times)), POINTS_MAX)
    return (
        np.array([np.median(times[part]) for part in parts]),
        np.array([np.median(levels[part]) for part in parts]),
    )
