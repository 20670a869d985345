"""What the scripts share: the window of time, chunks outstanding, CPU time."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.bench.peers import load
from tests.bench.peers.runner import figures


def test_a_window_counts_from_the_end_of_the_warm_up_until_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    plan = load.Plan(warm_s=2.0, warm_results=0, window_s=10.0, samples_max=1, samples_s=1.0)
    window = load.Window(plan, load.Meter())
    for at, results in ((101.0, 7), (102.0, 7), (107.0, 30), (113.0, 25), (114.0, 7)):
        now = at
        window.add(results)
        assert window.is_over == (at >= 113.0)
    assert window.rate() == 5.0
    assert window.facts()["tasks"] == 55.0


def test_a_slow_start_is_not_counted_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    plan = load.Plan(warm_s=1.0, warm_results=10, window_s=4.0, samples_max=1, samples_s=1.0)
    window = load.Window(plan, load.Meter())
    for at, results in ((5.0, 4), (9.0, 6), (11.0, 40), (13.0, 40)):
        now = at
        window.add(results)
    assert (window.rate(), window.is_over) == (20.0, True)


def test_a_window_that_is_not_over_has_no_rate() -> None:
    window = load.Window(load.QUICK, load.Meter())
    window.add(1)
    with pytest.raises(RuntimeError, match="never over"):
        window.rate()


def test_chunks_are_kept_outstanding_and_a_wrong_echo_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    outstanding: list[int] = [0]

    def submit(texts: list[str]) -> list[str]:
        outstanding.append(outstanding[-1] + 1)
        return texts

    def collect(texts: list[str]) -> list[str]:
        outstanding.append(outstanding[-1] - 1)
        now[0] += 1.0
        return texts

    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    plan = load.Plan(warm_s=2.0, warm_results=0, window_s=5.0, samples_max=1, samples_s=1.0)
    window = load.Window(plan, load.Meter())
    load.keep_chunks(submit, collect, chunk=3, chunks=4, window=window)
    assert (max(outstanding), outstanding[-1], window.rate()) == (4, 0, 3.0)
    with pytest.raises(ValueError, match="not what was sent"):
        load.keep_chunks(
            submit, lambda texts: texts[1:], chunk=3, chunks=1, window=load.Window(plan, load.Meter())
        )


async def test_lanes_end_with_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    window = load.Window(load.Plan(2.0, 0, 5.0, 1, 1.0), load.Meter())

    async def lane(window: load.Window) -> None:
        now[0] += 0.5
        window.add(1)

    await load.keep_full(lane, 2, window)
    assert window.rate() == 2.0


def test_one_at_a_time_ends_with_enough_samples_or_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def echo(text: str) -> str:
        now[0] += 0.25
        return text

    assert load.one_at_a_time(echo, load.Plan(1.0, 0, 1.0, samples_max=3, samples_s=9.0)) == [0.25] * 3
    assert load.one_at_a_time(echo, load.Plan(1.0, 0, 1.0, samples_max=99, samples_s=1.0)) == [0.25] * 5


def test_what_is_reported_is_what_the_runner_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    window = load.Window(load.Plan(0.0, 0, 4.0, 1, 1.0), load.Meter(broker=[os.getpid()]))
    for now in (1.0, 5.0):  # noqa: B007 - the clock reads it.
        window.add(8)
    load.report(window, [0.001, 0.002, 0.003, 0.004], {"version": "1"})
    found = figures("arq", capsys.readouterr().out)
    assert [(figure.name, figure.value, figure.unit) for figure in found] == [
        ("peer.arq.throughput", 2.0, "tasks/s"),
        ("peer.arq.p50", 3.0, "ms"),
        ("peer.arq.p99", 4.0, "ms"),
    ]
    assert found[0].facts["tasks"] == 8.0
    assert set(found[0].facts) >= {"broker_cpu_share", "submitter_cpu_share", "version"}
    assert json.dumps(found[1].facts)


def test_the_cpu_time_of_a_process_is_what_the_system_says() -> None:
    before = time.process_time()
    while time.process_time() - before < 0.1:
        pass
    used = os.times()
    assert load.cpu_seconds([os.getpid()]) == pytest.approx(sum(used[:4]), abs=0.5)
    assert load.cpu_seconds([os.getpid()]) > 0.1
