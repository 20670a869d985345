"""A scrape in slices is the same as one in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from upbeat_server.telemetry import exposition
from upbeat_server.telemetry.exposition import expose
from upbeat_server.telemetry.families import lazy

TEXT = ""
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FORMATS = [TEXT, OPENMETRICS, "text/plain; version=1.0.0; escaping=allow-utf-8"]


class Families(Collector):
    """Some families, a long one and an empty one among them."""

    def collect(self) -> Iterable[Metric]:
        things = CounterMetricFamily("things", "Things,\nin two lines.", labels=["kind"])
        for number in range(40):
            things.add_metric([f'# {number} "quoted"\n'], number)
        yield things
        yield GaugeMetricFamily("nothing", "No sample.", labels=["kind"])
        for number in range(20):
            seconds = HistogramMetricFamily(f"seconds_{number}", "Buckets.")
            seconds.add_metric([], [("1.0", 2), ("+Inf", 3)], 4.5)
            yield seconds


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Families())
    return registry


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("samples", [1, 7, 250])
async def test_slices_add_up_to_the_whole(
    registry: CollectorRegistry, accept: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "SLICE_SAMPLES", samples)
    encode, content_type = choose_encoder(accept)
    text, told_type = await expose(registry, accept)
    assert told_type == content_type
    assert text == encode(registry)
    assert text.endswith(b"# EOF\n") == (accept == OPENMETRICS)


async def test_others_run_while_a_scrape_is_written(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "SLICE_S", 0.0)
    scrape = asyncio.ensure_future(expose(registry, TEXT))
    turns = 0
    while not scrape.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20


async def test_samples_of_a_long_family_are_made_while_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "SLICE_S", 0.0)
    monkeypatch.setattr(exposition, "SLICE_SAMPLES", 10)
    made: list[int] = []

    def samples() -> Iterator[Sample]:
        for number in range(100):
            made.append(number)
            yield Sample("many_total", {"number": str(number)}, number)

    class Many(Collector):
        def collect(self) -> Iterable[Metric]:
            return (lazy("many", "Many samples.", "counter", samples),)

    scrape = asyncio.ensure_future(expose(Many(), TEXT))
    await asyncio.sleep(0)
    assert 0 < len(made) < 100
    text, _ = await scrape
    assert text.count(b"\nmany_total{") == 100
    assert text.count(b"# TYPE") == 1
