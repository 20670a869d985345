"""A point of the history of a namespace as a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.model import Priority
from upbeat_server.rpc.parts import fill_duration, fill_time

if TYPE_CHECKING:
    from upbeat.v1 import stats_history_pb2
    from upbeat_server.telemetry.history import Point
    from upbeat_server.telemetry.windows import Summary


def fill_point(message: stats_history_pb2.HistoryPoint, point: Point) -> None:
    """Write a point into an empty message."""
    fill_time(message.time, point.time_ms)
    message.submitted_per_second = point.submitted
    message.completed_per_second = point.completed
    message.failed_per_second = point.failed
    for priority in Priority:
        queue = message.queue_by_priority[priority.name]
        queue.depth = point.queue_depth.get(priority, 0)
        fill_duration(queue.oldest_age, point.oldest_age_ms.get(priority, 0))
    _fill_percentiles(message.wait, point.wait)
    _fill_percentiles(message.run, point.run)
    message.running = point.running
    message.slots = point.slots
    message.slots_in_use = point.slots_in_use
    message.agents = point.agents


def _fill_percentiles(message: stats_history_pb2.HistoryPercentiles, summary: Summary) -> None:
    if summary.count:
        message.p50.FromNanoseconds(int(summary.p50 * 1e9))
        message.p99.FromNanoseconds(int(summary.p99 * 1e9))
