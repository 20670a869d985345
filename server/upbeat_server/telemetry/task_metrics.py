"""How long tasks wait, run and take and what they use, by priority and type, read when somebody scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from upbeat_server.engine.model import FINISHED, NO_USAGE, Priority, TaskState
from upbeat_server.telemetry.families import NAMESPACE
from upbeat_server.telemetry.task_figures import COLLABORATION
from upbeat_server.telemetry.windows import Buckets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from upbeat_server.engine.model import Usage
    from upbeat_server.telemetry.recorder import Recorder
    from upbeat_server.telemetry.task_figures import TaskFigures

BY_TYPE: Final = (*NAMESPACE, "type")
BY_PRIORITY: Final = (*NAMESPACE, "priority", "type")


class TaskCollector(Collector):
    """What the recorder keeps of tasks."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not collect to know the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures as they are."""
        finished = CounterMetricFamily(
            "upbeat_tasks_finished", "Tasks that ended.", labels=(*BY_PRIORITY, "state")
        )
        purged = CounterMetricFamily(
            "upbeat_tasks_purged",
            "Finished tasks forgotten because of their age or number.",
            labels=NAMESPACE,
        )
        total = HistogramMetricFamily(
            "upbeat_task_total_seconds", "From submission to the end.", labels=BY_PRIORITY
        )
        for namespace, figures in self._recorder.namespaces.items():
            purged.add_metric((namespace,), figures.purged)
            for priority, task_type, typed in figures.typed.items():
                place = (namespace, Priority(priority).name, task_type)
                for state in FINISHED:
                    finished.add_metric((*place, TaskState(state).name), typed.ended[state])
                total.add_metric(place, typed.total.cumulative(), typed.total.sum)
        yield from (finished, purged, total)
        yield from self._worked()

    def _worked(self) -> Iterable[Metric]:
        """What only agents do. They never hold a collaboration: its children count, and their usage."""
        wait = HistogramMetricFamily(
            "upbeat_task_wait_seconds", "In the queue before the first lease.", labels=BY_PRIORITY
        )
        run = HistogramMetricFamily("upbeat_task_run_seconds", "Accepted attempts.", labels=BY_TYPE)
        tokens = CounterMetricFamily(
            "upbeat_tokens",
            "Tokens that agents reported, by tasks that ended.",
            labels=(*BY_TYPE, "direction"),
        )
        cost = CounterMetricFamily(
            "upbeat_cost", "Cost that agents reported, in currency units.", labels=BY_TYPE
        )
        for namespace, figures in self._recorder.namespaces.items():
            typed = [item for item in figures.typed.items() if item[1] != COLLABORATION]
            for priority, task_type, kept in typed:
                place = (namespace, Priority(priority).name, task_type)
                wait.add_metric(place, kept.wait.cumulative(), kept.wait.sum)
            for task_type, (runs, usage) in _by_type(typed).items():
                run.add_metric((namespace, task_type), runs.cumulative(), runs.sum)
                tokens.add_metric((namespace, task_type, "input"), usage.input_tokens)
                tokens.add_metric((namespace, task_type, "output"), usage.output_tokens)
                cost.add_metric((namespace, task_type), usage.cost_micros / 1e6)
        return wait, run, tokens, cost


def _by_type(typed: Iterable[tuple[int, str, TaskFigures]]) -> dict[str, tuple[Buckets, Usage]]:
    """Runs and usage over all priorities."""
    sums: dict[str, tuple[Buckets, Usage]] = {}
    for _, task_type, figures in typed:
        runs, usage = sums.get(task_type) or (Buckets(figures.run.bounds), NO_USAGE)
        runs.merge(figures.run)
        sums[task_type] = runs, usage.plus(figures.usage)
    return sums
