"""How long tasks wait, run and take and what they use, by priority and type, read when somebody scrapes.

These are most of the samples of a server with many namespaces and types, so they are made while the
scrape is written, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from upbeat_server.engine.model import FINISHED, Priority, TaskState
from upbeat_server.telemetry.families import NAMESPACE, histogram_samples, lazy
from upbeat_server.telemetry.task_figures import COLLABORATION
from upbeat_server.telemetry.windows import Buckets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from upbeat_server.telemetry.recorder import Recorder
    from upbeat_server.telemetry.task_figures import TaskFigures

BY_TYPE: Final = (*NAMESPACE, "type")
BY_PRIORITY: Final = (*NAMESPACE, "priority", "type")

WAIT: Final = "upbeat_task_wait_seconds"
RUN: Final = "upbeat_task_run_seconds"
TOTAL: Final = "upbeat_task_total_seconds"


class TaskCollector(Collector):
    """What the recorder keeps of tasks."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not collect to know the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures as they are."""
        every = [
            ((namespace, Priority(priority).name, task_type), typed)
            for namespace, figures in self._recorder.namespaces.items()
            for priority, task_type, typed in figures.typed.items()
        ]
        # Agents never hold a collaboration: its children wait, run and have told what they used.
        held = [(place, typed) for place, typed in every if place[2] != COLLABORATION]
        by_type: dict[tuple[str, str], list[TaskFigures]] = {}
        for (namespace, _, task_type), typed in held:
            by_type.setdefault((namespace, task_type), []).append(typed)
        purged = [(namespace, figures.purged) for namespace, figures in self._recorder.namespaces.items()]
        return (
            lazy("upbeat_tasks_finished", "Tasks that ended.", "counter", lambda: _finished(every)),
            lazy(
                "upbeat_tasks_purged",
                "Finished tasks forgotten because of their age or number.",
                "counter",
                lambda: (
                    Sample("upbeat_tasks_purged_total", {"namespace": namespace}, count)
                    for namespace, count in purged
                ),
            ),
            lazy(
                WAIT,
                "In the queue before the first lease.",
                "histogram",
                lambda: histogram_samples(WAIT, BY_PRIORITY, ((place, typed.wait) for place, typed in held)),
            ),
            lazy(
                RUN,
                "Accepted attempts.",
                "histogram",
                lambda: histogram_samples(RUN, BY_TYPE, ((p, _runs(typed)) for p, typed in by_type.items())),
            ),
            lazy(
                TOTAL,
                "From submission to the end.",
                "histogram",
                lambda: histogram_samples(TOTAL, BY_PRIORITY, ((p, typed.total) for p, typed in every)),
            ),
            lazy(
                "upbeat_tokens",
                "Tokens that agents reported for tasks that ended.",
                "counter",
                lambda: _tokens(by_type),
            ),
            lazy(
                "upbeat_cost",
                "Cost that agents reported for tasks that ended, in currency units.",
                "counter",
                lambda: _cost(by_type),
            ),
        )


def _finished(every: Iterable[tuple[tuple[str, str, str], TaskFigures]]) -> Iterator[Sample]:
    for place, typed in every:
        for state in FINISHED:
            labels = dict(zip(BY_PRIORITY, place, strict=True)) | {"state": TaskState(state).name}
            yield Sample("upbeat_tasks_finished_total", labels, typed.ended[state])


def _runs(typed: Iterable[TaskFigures]) -> Buckets:
    """The runs of a type over all priorities."""
    first, *others = [figures.run for figures in typed]
    runs = Buckets(first.bounds)
    for buckets in (first, *others):
        runs.merge(buckets)
    return runs


def _tokens(by_type: dict[tuple[str, str], list[TaskFigures]]) -> Iterator[Sample]:
    for place, typed in by_type.items():
        labels = dict(zip(BY_TYPE, place, strict=True))
        read = sum(figures.usage.input_tokens for figures in typed)
        written = sum(figures.usage.output_tokens for figures in typed)
        yield Sample("upbeat_tokens_total", {**labels, "direction": "input"}, read)
        yield Sample("upbeat_tokens_total", {**labels, "direction": "output"}, written)


def _cost(by_type: dict[tuple[str, str], list[TaskFigures]]) -> Iterator[Sample]:
    for place, typed in by_type.items():
        cost = sum(figures.usage.cost_micros for figures in typed) / 1e6
        yield Sample("upbeat_cost_total", dict(zip(BY_TYPE, place, strict=True)), cost)
