"""StatsService: every field from a real count."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.runtime import until
from upbeat.v1 import stats_pb2, stats_service_pb2
from upbeat_server.clock import SystemClock
from upbeat_server.engine import reasons
from upbeat_server.engine.census import BusCensus, Census, LimitCensus, TypeCensus
from upbeat_server.engine.model import Attempt, AttemptOutcome, TaskRecord, TaskSpec, TaskState
from upbeat_server.engine.queue import Signature
from upbeat_server.engine.task import Task
from upbeat_server.rpc import stats_service
from upbeat_server.rpc.stats_service import StatsService
from upbeat_server.runtime.refused import Refused
from upbeat_server.telemetry.history import History
from upbeat_server.telemetry.recorder import Recorder

COUNTED = Census(
    live={1: 4, 2: 5, 3: 6},
    finished={4: 7, 5: 8, 6: 9},
    submitted=39,
    attempts={1: 7},
    retries=1,
    leases_lost=2,
    queue_depth={1: 0, 2: 5, 3: 0, 4: 0},
    oldest_age_ms={1: 0, 2: 1_500, 3: 0, 4: 0},
    agents={1: 3, 2: 1, 3: 0, 4: 0},
    slots=12,
    slots_in_use=6,
    queue_bytes=1_000,
    signatures=2,
    groups={"consensus": 2},
    groups_ended={"consensus": {4: 5, 5: 1, 6: 0}, "fan": {4: 0, 5: 0, 6: 3}},
    hedges=4,
    wasted_ms=1_500,
    bus=BusCensus(9, 8, 7, 6, 5, 4, 3, 2, 1),
    types={"work": TypeCensus(1, 2, 3, 1)},
    paused_types=("echo",),
    limits=(LimitCensus("key", 5, 2, 2, 0.5, 1, 1, 2_000, True),),
)


class CountedNamespace:
    """Counts of one namespace, `default`."""

    names = ["default"]  # noqa: RUF012 - a fake

    def census(self, name: str) -> Census | None:
        return COUNTED if name == "default" else None


class FakeStream:
    """A watcher that takes so many frames and then leaves."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.written: list[stats_pb2.Stats] = []

    def namespace(self, wanted: str) -> str:
        return wanted or "default"

    async def write(self, message: stats_service_pb2.WatchStatsResponse) -> None:
        self.written.append(message.stats)
        if len(self.written) == self.frames:
            raise ConnectionError


@pytest.fixture
def recorder() -> Recorder:
    now_s = [100.0]
    recorder = Recorder(stopwatch=lambda: now_s[0])
    recorder.submitted("default", 60)
    attempt = Attempt(1, "a", start_ms=3_000, end_ms=5_000, outcome=AttemptOutcome.COMPLETED)
    record = TaskRecord(
        task_id=1,
        state=TaskState.COMPLETED,
        create_ms=1_000,
        start_ms=2_000,
        end_ms=5_000,
        attempts=[attempt],
    )
    task = Task(record, TaskSpec(type="t"), Signature(("t", (), ""), None))
    recorder.tasks_finished("default", [task])
    recorder.committed(0.25, 1)
    recorder.dispatched(0.5, 1)
    now_s[0] = 101.0
    return recorder


@pytest.fixture
def service(recorder: Recorder) -> StatsService:
    clock = SystemClock()
    history = History(CountedNamespace(), recorder, clock)
    return StatsService(CountedNamespace(), recorder, history, clock, "upbeat/1.2.3")


async def stats_of(service: StatsService, namespace: str = "") -> stats_pb2.Stats:
    request = stats_service_pb2.GetStatsRequest(namespace=namespace)
    return (await service.get_stats(request, FakeStream(0))).stats  # type: ignore[arg-type]


async def test_counts_come_from_the_census(service: StatsService) -> None:
    stats = await stats_of(service)
    assert dict(stats.tasks_by_state) == {
        "PENDING": 4,
        "QUEUED": 5,
        "RUNNING": 6,
        "COMPLETED": 7,
        "FAILED": 8,
        "CANCELLED": 9,
    }
    assert stats.queue_by_priority["NORMAL"].depth == 5
    assert stats.queue_by_priority["NORMAL"].oldest_age.ToMilliseconds() == 1_500
    assert dict(stats.agents_by_state) == {"CONNECTED": 3, "SUSPECT": 1, "DRAINING": 0, "DISCONNECTED": 0}
    assert (stats.slots, stats.slots_in_use, stats.retries, stats.leases_lost) == (12, 6, 1, 2)


async def test_rates_and_percentiles_come_from_the_recorder(service: StatsService) -> None:
    stats = await stats_of(service)
    assert stats.submitted.count == 60
    assert stats.submitted.per_second_1s == 60
    assert stats.submitted.per_second_1m == 1
    assert stats.submitted.per_second_5m == pytest.approx(0.2)
    assert stats.completed.count == 1
    assert stats.failed.count == 0
    assert stats.wait.p50.ToMilliseconds() == 1_000
    assert stats.run.p90.ToMilliseconds() == 2_000
    assert stats.total.max.ToMilliseconds() == 4_000
    assert stats.commit.p99.ToMilliseconds() == 250
    assert stats.dispatch.count == 1


async def test_the_server_tells_of_itself(service: StatsService) -> None:
    stats = await stats_of(service)
    assert stats.server_version == "upbeat/1.2.3"
    assert stats.uptime.ToMilliseconds() == 1_000
    assert stats.time.seconds > 0


async def test_the_bus_is_counted(service: StatsService) -> None:
    bus = (await stats_of(service)).bus
    assert [figure for _, figure in bus.ListFields()] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert (bus.published, bus.redelivered, bus.dead_lettered, bus.dead_letters) == (9, 6, 5, 1)


async def test_types_with_tasks_and_paused_ones_are_told(service: StatsService) -> None:
    types = (await stats_of(service)).types
    told = [(of.type, of.pending, of.queued, of.running, of.unserved, of.paused) for of in types]
    assert told == [("echo", 0, 0, 0, 0, True), ("work", 1, 2, 3, 1, False)]


async def test_of_too_many_types_the_paused_and_the_busy_ones_are_told(
    service: StatsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats_service, "TYPES_MAX", 2)
    monkeypatch.setattr(
        COUNTED, "types", {"few": TypeCensus(1), "many": TypeCensus(9), "some": TypeCensus(5)}
    )
    assert [of.type for of in (await stats_of(service)).types] == ["echo", "many"]


async def test_what_is_used_of_limits_is_told(service: StatsService) -> None:
    (limit,) = (await stats_of(service)).limits
    assert (limit.key, limit.tasks, limit.running, limit.max_running, limit.per_second) == (
        "key",
        5,
        2,
        2,
        0.5,
    )
    assert (limit.starts, limit.starts_max, limit.window.seconds, limit.exhausted) == (1, 1, 2, True)


async def test_no_field_of_the_contract_is_left_out(service: StatsService) -> None:
    stats = await stats_of(service)
    filled = {field.name for field, _ in stats.ListFields()}
    assert filled == {field.name for field in stats_pb2.Stats.DESCRIPTOR.fields}


async def test_a_namespace_that_nobody_opened_has_nothing(service: StatsService) -> None:
    stats = await stats_of(service, "other")
    assert set(stats.tasks_by_state.values()) == {0}
    assert stats.submitted.count == 0
    assert stats.server_version


async def test_a_watch_sends_until_the_watcher_leaves(service: StatsService) -> None:
    stream = FakeStream(frames=3)
    request = stats_service_pb2.WatchStatsRequest(interval=Duration(nanos=100_000_000))
    with pytest.raises(ConnectionError):
        await service.watch_stats(request, stream)  # type: ignore[arg-type]
    assert len(stream.written) == 3
    assert service._watches == 0


async def test_of_a_namespace_that_nobody_watches_any_more_nothing_is_kept(service: StatsService) -> None:
    request = stats_service_pb2.WatchStatsRequest(interval=Duration(seconds=60))
    stays = FakeStream(frames=2)
    watching = asyncio.create_task(service.watch_stats(request, stays))  # type: ignore[arg-type]
    await until(lambda: stays.written)
    for number in range(3):
        request = stats_service_pb2.WatchStatsRequest(namespace=f"n{number}")
        with pytest.raises(ConnectionError):
            await service.watch_stats(request, FakeStream(frames=1))  # type: ignore[arg-type]
    assert list(service._recent) == ["default"]
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert not service._recent


async def test_many_watches_of_a_namespace_cost_as_much_as_one(service: StatsService) -> None:
    first, second = service._recently("default"), service._recently("default")
    assert first is second
    assert service._recently("other") is not first


@pytest.mark.parametrize(
    "interval",
    [
        Duration(nanos=99_000_000),
        Duration(seconds=61),
        Duration(seconds=-1),
        Duration(),
        Duration(seconds=2, nanos=-1_000_000_000),
        Duration(nanos=2_000_000_000),
    ],
)
async def test_an_interval_out_of_bounds_is_refused(service: StatsService, interval: Duration) -> None:
    request = stats_service_pb2.WatchStatsRequest(interval=interval)
    with pytest.raises(Refused) as caught:
        await service.watch_stats(request, FakeStream(1))  # type: ignore[arg-type]
    assert caught.value.refusal.violations[0][0] == "interval"


async def test_watches_are_bounded(service: StatsService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats_service, "WATCHES_MAX", 0)
    with pytest.raises(Refused) as caught:
        await service.watch_stats(stats_service_pb2.WatchStatsRequest(), FakeStream(1))  # type: ignore[arg-type]
    assert caught.value.refusal.reason == reasons.STREAMS_EXHAUSTED


async def test_history_is_told_as_it_was_kept(service: StatsService, recorder: Recorder) -> None:
    service._history.sample("default")
    recorder.submitted("default", 6)
    recorder.of("default").run.add(0.5, 101.5)
    recorder._stopwatch = lambda: 103.0
    service._history.sample("default")
    request = stats_service_pb2.GetHistoryRequest(window=Duration(seconds=60))
    answer = await service.get_history(request, FakeStream(0))  # type: ignore[arg-type]
    (point,) = answer.points
    assert answer.step.seconds == 5
    assert point.submitted_per_second == 3
    assert point.run.p99.ToMilliseconds() == 500
    assert not point.wait.HasField("p50")
    assert (point.running, point.slots, point.slots_in_use, point.agents) == (6, 12, 6, 3)
    assert point.queue_by_priority["NORMAL"].depth == 5
    assert point.queue_by_priority["NORMAL"].oldest_age.ToMilliseconds() == 1_500
    assert set(point.queue_by_priority) == {"LOW", "NORMAL", "HIGH", "CRITICAL"}
