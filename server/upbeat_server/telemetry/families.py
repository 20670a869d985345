"""Families of samples, as the collectors build them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.samples import Sample

from upbeat_server.engine.model import AttemptOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from enum import IntEnum

    from upbeat_server.engine.census import Census
    from upbeat_server.telemetry.windows import Buckets

NAMESPACE: Final = ("namespace",)

Counted: TypeAlias = "list[tuple[str, Census]]"
Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)


class Samples:
    """Samples that are made when somebody asks for them, a few at a time (``exposition.py``)."""

    def __init__(self, make: Callable[[], Iterator[Sample]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Sample]:
        return self._make()


def lazy(name: str, text: str, kind: str, make: Callable[[], Iterator[Sample]]) -> Metric:
    """A family of very many samples; what ``make`` reads may change while they are written."""
    family = Metric(name, text, kind)
    family.samples = cast("list[Sample]", Samples(make))
    return family


def histogram_samples(
    name: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], Buckets]]
) -> Iterator[Sample]:
    """The samples of histograms, each read at once; ``rows`` are values of the labels, and buckets."""
    for values, buckets in rows:
        place = dict(zip(labels, values, strict=True))
        cumulative, total = buckets.cumulative(), buckets.sum
        for bound, count in cumulative:
            yield Sample(f"{name}_bucket", {**place, "le": bound}, count)
        yield Sample(f"{name}_count", place, cumulative[-1][1])
        yield Sample(f"{name}_sum", place, total)


def by_enum(family: Family, rows: Iterable[tuple[str, type[IntEnum], dict[int, int]]]) -> Family:
    """The family with a sample for every namespace and number, under the number's name."""
    for namespace, names, counts in rows:
        for number, count in counts.items():
            if number == AttemptOutcome.RUNNING and names is AttemptOutcome:
                continue  # An attempt that runs has not ended.
            family.add_metric((namespace, names(number).name), count)
    return family


def gauge(name: str, text: str, counted: Counted, pick: Callable[[Census], float]) -> GaugeMetricFamily:
    """A gauge of each namespace."""
    return _by_namespace(GaugeMetricFamily(name, text, labels=NAMESPACE), counted, pick)


def counter(name: str, text: str, counted: Counted, pick: Callable[[Census], float]) -> CounterMetricFamily:
    """A counter of each namespace."""
    return _by_namespace(CounterMetricFamily(name, text, labels=NAMESPACE), counted, pick)


def _by_namespace(family: Family, counted: Counted, pick: Callable[[Census], float]) -> Family:
    for namespace, census in counted:
        family.add_metric((namespace,), pick(census))
    return family
