"""StatsService: the figures of a namespace and its server, as of now."""

from __future__ import annotations

import asyncio
from heapq import nlargest
from typing import TYPE_CHECKING, Final, Protocol

from upbeat.v1 import stats_pb2, stats_service_pb2
from upbeat_server.engine import reasons
from upbeat_server.engine.census import BusCensus, LimitCensus, TypeCensus
from upbeat_server.engine.model import FINISHED, AgentState, Priority, TaskState
from upbeat_server.rpc.faults import Faults
from upbeat_server.rpc.history_point import fill_point
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.parts import fill_duration
from upbeat_server.rpc.values import read_duration
from upbeat_server.runtime.refused import invalid, refused
from upbeat_server.telemetry.history import SPAN_S, STEP_S

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from upbeat_server.clock import Clock
    from upbeat_server.engine.census import Census
    from upbeat_server.rpc.method import Call, Stream
    from upbeat_server.telemetry.history import History
    from upbeat_server.telemetry.recorder import Recorder
    from upbeat_server.telemetry.windows import Rate, Summary

WATCHES_MAX: Final = 200
"""Each costs some milliseconds a frame."""
TYPES_MAX: Final = 100
INTERVAL_DEFAULT_S: Final = 1.0
INTERVAL_MIN_S: Final = 0.1
INTERVAL_MAX_S: Final = 60.0


class Counted(Protocol):
    """Who counts; the orchestrator does."""

    def census(self, name: str) -> Census | None:
        """Counts of a namespace; None for one that is not open."""


class StatsService:
    """Puts census and windows together."""

    descriptor = stats_service_pb2.DESCRIPTOR.services_by_name["StatsService"]
    roles: Final[dict[str, Role]] = {
        "get_stats": Role.VIEWER,
        "watch_stats": Role.VIEWER,
        "get_history": Role.VIEWER,
    }

    def __init__(
        self, counted: Counted, recorder: Recorder, history: History, clock: Clock, version: str
    ) -> None:
        self._counted = counted
        self._recorder = recorder
        self._history = history
        self._clock = clock
        self._version = version
        self._watches = 0
        self._watches_of: dict[str, int] = {}  # By namespace.
        # What watches were sent last, by namespace; many watches of one cost as much as one.
        self._recent: dict[str, tuple[float, stats_pb2.Stats]] = {}

    async def get_stats(
        self, request: stats_service_pb2.GetStatsRequest, call: Call
    ) -> stats_service_pb2.GetStatsResponse:
        """The figures of now."""
        return stats_service_pb2.GetStatsResponse(stats=self._stats(call.namespace(request.namespace)))

    async def watch_stats(self, request: stats_service_pb2.WatchStatsRequest, stream: Stream) -> None:
        """The figures again and again."""
        namespace = stream.namespace(request.namespace)
        interval_s = _interval_s(request)
        if self._watches >= WATCHES_MAX:
            raise refused(
                reasons.STREAMS_EXHAUSTED,
                f"{WATCHES_MAX} watches of stats are open, which is the limit",
                retry_ms=5_000,
                stats_watches_max=str(WATCHES_MAX),
            )
        self._watches += 1
        self._watches_of[namespace] = self._watches_of.get(namespace, 0) + 1
        try:
            while True:
                await stream.write(stats_service_pb2.WatchStatsResponse(stats=self._recently(namespace)))
                await asyncio.sleep(interval_s)
        finally:
            self._watches -= 1
            self._watches_of[namespace] -= 1
            if not self._watches_of[namespace]:
                del self._watches_of[namespace]
                self._recent.pop(namespace, None)

    async def get_history(
        self, request: stats_service_pb2.GetHistoryRequest, call: Call
    ) -> stats_service_pb2.GetHistoryResponse:
        """How the figures were."""
        namespace = call.namespace(request.namespace)
        faults = Faults()
        window_ms = read_duration(request.window, "window", faults, zero_allowed=True) or SPAN_S * 1_000
        if faults or not 1_000 <= window_ms <= SPAN_S * 1_000:
            raise invalid("window", f"must be 1 s to {SPAN_S:,} s")
        response = stats_service_pb2.GetHistoryResponse()
        response.step.seconds = STEP_S
        for point in self._history.points(namespace, self._clock.now_ms() - window_ms):
            fill_point(response.points.add(), point)
        return response

    def _recently(self, namespace: str) -> stats_pb2.Stats:
        """Figures that are younger than the shortest interval."""
        now_s = self._recorder.now_s()
        taken_s, stats = self._recent.get(namespace, (-INTERVAL_MIN_S, None))
        if stats is None or now_s - taken_s >= INTERVAL_MIN_S / 2:
            stats = self._stats(namespace)
            self._recent[namespace] = now_s, stats
        return stats

    def _stats(self, namespace: str) -> stats_pb2.Stats:
        recorder = self._recorder
        now_s = recorder.now_s()
        stats = stats_pb2.Stats(server_version=self._version)
        stats.time.FromMilliseconds(self._clock.now_ms())
        _set_s(stats.uptime, now_s - recorder.began_s)
        _set_percentiles(stats.dispatch, recorder.dispatch.summary(now_s))
        _set_percentiles(stats.commit, recorder.commit.summary(now_s))
        _set_census(stats, self._counted.census(namespace))
        figures = recorder.namespaces.get(namespace)
        if figures is not None:
            _set_rates(stats.submitted, figures.submitted, now_s)
            _set_rates(stats.completed, figures.completed, now_s)
            _set_rates(stats.failed, figures.failed, now_s)
            _set_percentiles(stats.wait, figures.wait.summary(now_s))
            _set_percentiles(stats.run, figures.run.summary(now_s))
            _set_percentiles(stats.total, figures.total.summary(now_s))
        return stats


def _interval_s(request: stats_service_pb2.WatchStatsRequest) -> float:
    if not request.HasField("interval"):
        return INTERVAL_DEFAULT_S
    faults = Faults()
    interval_s = read_duration(request.interval, "interval", faults, zero_allowed=True) / 1_000
    if faults or not INTERVAL_MIN_S <= interval_s <= INTERVAL_MAX_S:
        raise invalid("interval", f"must be {INTERVAL_MIN_S} s to {INTERVAL_MAX_S:.0f} s")
    return interval_s


def _set_census(stats: stats_pb2.Stats, census: Census | None) -> None:
    """Counts; a namespace that is not open holds nothing."""
    for state in TaskState:
        counts = {} if census is None else census.finished if state in FINISHED else census.live
        stats.tasks_by_state[state.name] = counts.get(state, 0)
    for priority in Priority:
        queue = stats.queue_by_priority[priority.name]
        if census is not None:
            queue.depth = census.queue_depth.get(priority, 0)
        _set_s(queue.oldest_age, 0 if census is None else census.oldest_age_ms.get(priority, 0) / 1000)
    bus = BusCensus() if census is None else census.bus
    for name in BusCensus.__struct_fields__:
        setattr(stats.bus, name, getattr(bus, name))
    for agent_state in AgentState:
        stats.agents_by_state[agent_state.name] = 0 if census is None else census.agents.get(agent_state, 0)
    if census is not None:
        stats.slots = census.slots
        stats.slots_in_use = census.slots_in_use
        stats.retries = census.retries
        stats.leases_lost = census.leases_lost
        stats.hedges = census.hedges
        stats.paused_types.extend(census.paused_types)
        _set_types(stats, census)
        _set_limits(stats, census)
        fill_duration(stats.wasted, census.wasted_ms)
        for mode in sorted(census.groups.keys() | census.groups_ended.keys()):
            figures = stats.collaborations_by_mode[mode]
            ended = census.groups_ended.get(mode, {})
            figures.running = census.groups.get(mode, 0)
            figures.completed = ended.get(TaskState.COMPLETED, 0)
            figures.failed = ended.get(TaskState.FAILED, 0)
            figures.cancelled = ended.get(TaskState.CANCELLED, 0)


def _set_types(stats: stats_pb2.Stats, census: Census) -> None:
    paused = set(census.paused_types)
    types = {name: census.types.get(name) or TypeCensus() for name in {*census.types, *paused}}
    shown = nlargest(TYPES_MAX, types, key=lambda name: (name in paused, types[name].live))
    for name in sorted(shown):
        counts = types[name]
        stats.types.add(
            type=name,
            pending=counts.pending,
            queued=counts.queued,
            running=counts.running,
            unserved=counts.unserved,
            paused=name in paused,
        )


def _set_limits(stats: stats_pb2.Stats, census: Census) -> None:
    for limit in census.limits:
        shown = stats.limits.add()
        for name in LimitCensus.__struct_fields__:
            if name != "window_ms":
                setattr(shown, name, getattr(limit, name))
        if limit.window_ms:
            fill_duration(shown.window, limit.window_ms)


def _set_rates(message: stats_pb2.Rates, rate: Rate, now_s: float) -> None:
    message.per_second_1s = rate.per_second(1, now_s)
    message.per_second_1m = rate.per_second(60, now_s)
    message.per_second_5m = rate.per_second(300, now_s)
    message.count = rate.count


def _set_percentiles(message: stats_pb2.Percentiles, summary: Summary) -> None:
    _set_s(message.p50, summary.p50)
    _set_s(message.p90, summary.p90)
    _set_s(message.p99, summary.p99)
    _set_s(message.max, summary.largest)
    message.count = summary.count


def _set_s(message: Duration, seconds: float) -> None:
    message.FromNanoseconds(max(int(seconds * 1e9), 0))
