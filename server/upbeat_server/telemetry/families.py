"""Families of samples by namespace, as the collectors build them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from upbeat_server.engine.model import AttemptOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from enum import IntEnum

    from upbeat_server.engine.census import Census

NAMESPACE: Final = ("namespace",)

Counted: TypeAlias = "list[tuple[str, Census]]"
Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)


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
