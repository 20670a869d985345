"""What is looked at, every second: the process, its metrics, its files."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from tests.soak.verdict import Tolerance

if TYPE_CHECKING:
    from tests.soak.tally import Tally

Metrics: TypeAlias = list[tuple[str, dict[str, str], float]]
"""Name, labels and value of every sample of a scrape."""

MIB = 1 << 20
SCRAPE_S = 10.0


@dataclass(frozen=True)
class Series:
    """One thing that must level off."""

    name: str
    unit: str
    tolerance: Tolerance
    metric: str = ""  # Summed over the labels that are not named here.
    labels: tuple[tuple[str, str], ...] = ()


SERIES = (
    Series("memory", "bytes", Tolerance(4 * MIB, 0.03)),
    Series("descriptors", "", Tolerance(10, 0.15)),
    Series("threads", "", Tolerance(2)),
    Series("event loop tasks", "", Tolerance(30, 0.15), "upbeat_event_loop_tasks"),
    Series("database", "bytes", Tolerance(MIB, 0.05)),
    Series("write-ahead log", "bytes", Tolerance(8 * MIB, 0.25)),
    Series("unfinished tasks", "", Tolerance(100, 0.25), "upbeat_tasks"),
    Series("queued tasks", "", Tolerance(100, 0.25), "upbeat_queue_tasks"),
    Series("queue bytes", "bytes", Tolerance(MIB / 4, 0.25), "upbeat_queue_bytes"),
    Series("signatures", "", Tolerance(10, 0.2), "upbeat_signatures"),
    Series("inbox items", "", Tolerance(100), "upbeat_inbox_items"),
    Series("known agents", "", Tolerance(10, 0.2), "upbeat_agents"),
    Series("slots in use", "", Tolerance(30, 0.25), "upbeat_slots_in_use"),
    Series("agent streams", "", Tolerance(8, 0.2), "upbeat_open_streams", (("kind", "agent"),)),
    Series("submission streams", "", Tolerance(8, 0.2), "upbeat_open_streams", (("kind", "submissions"),)),
    Series("watches", "", Tolerance(8, 0.2), "upbeat_open_streams", (("kind", "watch"),)),
    # Of these the negative is looked at: they must not fall.
    Series("throughput", "tasks/s", Tolerance(5, 0.25)),
)
FALLING = "throughput"


@dataclass
class Samples:
    """Every series over time; ``seconds`` are those since the load began."""

    seconds: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {series.name: [] for series in SERIES})
    errors: list[int] = field(default_factory=list)
    finished: int = 0


class Sampler:
    """Samples one server until it is cancelled."""

    def __init__(self, pid: int, http_port: int, store: Path, tally: Tally) -> None:
        self.samples = Samples()
        self._process = Path("/proc", str(pid))
        self._url = f"http://127.0.0.1:{http_port}/metrics"
        self._store = store
        self._tally = tally

    async def run(self, every_s: float) -> None:
        """Take a sample now and then one every so often, for ever."""
        began = last = time.monotonic()
        before = await self._finished()
        while True:
            await asyncio.sleep(every_s)
            metrics = await asyncio.to_thread(self._scrape)
            now = time.monotonic()
            finished = _value(metrics, "upbeat_tasks_finished_total", ())
            self._take(metrics)
            self.samples.values["throughput"].append((finished - before) / (now - last))
            self.samples.seconds.append(now - began)
            self.samples.errors.append(sum(self._tally.errors.values()))
            self.samples.finished = int(finished)
            before, last = finished, now

    async def _finished(self) -> float:
        return _value(await asyncio.to_thread(self._scrape), "upbeat_tasks_finished_total", ())

    def _scrape(self) -> Metrics:
        with urllib.request.urlopen(self._url, timeout=SCRAPE_S) as answer:  # noqa: S310 - our own server
            text = answer.read().decode()
        return [
            (sample.name, dict(sample.labels), float(sample.value))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def _take(self, metrics: Metrics) -> None:
        values = self.samples.values
        stated = dict(
            line.split(":", 1) for line in (self._process / "status").read_text().splitlines() if ":" in line
        )
        values["memory"].append(float(stated["VmRSS"].split()[0]) * 1_024)
        values["threads"].append(float(stated["Threads"]))
        values["descriptors"].append(float(sum(1 for _ in (self._process / "fd").iterdir())))
        values["database"].append(float(_size(self._store)))
        values["write-ahead log"].append(float(_size(self._store.with_name(self._store.name + "-wal"))))
        for series in SERIES:
            if series.metric:
                values[series.name].append(_value(metrics, series.metric, series.labels))


def _value(metrics: Metrics, name: str, labels: tuple[tuple[str, str], ...]) -> float:
    return sum(
        value
        for found, has, value in metrics
        if found == name and all(has.get(key) == wanted for key, wanted in labels)
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
