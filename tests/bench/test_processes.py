"""What watches over the processes of a benchmark, and the counting in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench import steady as steady_module
from tests.bench import throughput
from tests.bench.caller import number_of
from tests.bench.processes import Busy, Child, ChildFailed, cpu_seconds, resident_bytes
from tests.bench.steady import Steady
from tests.bench.work import PAYLOAD_BYTES, WORKS, ZONES, echo_spec, pipeline_items, stamp_of, stamped

SPEAKER = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    if line == "break\\n":
        raise ExceptionGroup("several", [ValueError("what broke")])
    print('{"heard": 1}', flush=True)
"""


@pytest.fixture
def speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that answers lines."""
    (tmp_path / "speaker.py").write_text(SPEAKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "speaker"


def test_a_child_speaks_in_lines(speaker: str) -> None:
    with Child(speaker) as child:
        child.expect("ready")
        child.say("anything")
        assert child.answer() == {"heard": 1}
        child.say("anything")
        with pytest.raises(ChildFailed, match="where 'ready' was expected"):
            child.expect("ready")


def test_a_child_that_breaks_is_told_by_its_last_error(speaker: str) -> None:
    with Child(speaker) as child:
        child.expect("ready")
        child.say("break")
        with pytest.raises(ChildFailed, match=r"^speaker: ValueError: what broke$"):
            child.line()


def test_a_child_that_hangs_is_ended_and_said_to_hang(speaker: str) -> None:
    with Child(speaker, patience_s=2.0) as child:
        child.expect("ready")
        with pytest.raises(ChildFailed, match="has not ended within 2 s"):
            child.line()


def test_how_busy_processes_are_is_read_from_the_system() -> None:
    busy = Busy(bench=[os.getpid()])
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) < before + 0.05:
        pass
    assert set(busy.shares()) == {"bench_cpu", "others_cpu"}
    assert busy.shares()["bench_cpu"] > 0
    assert resident_bytes(os.getpid()) > 1 << 20


class HandClock:
    """Stands for the module ``time``."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


def test_only_what_comes_back_after_the_warm_up_counts_and_only_for_a_fixed_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = HandClock()
    monkeypatch.setattr(steady_module, "time", clock)
    steady = Steady(warm_up_s=2.0, seconds=3.0)
    answers = []
    for at, count in ((101.0, 500), (102.5, 300), (103.0, 10), (104.0, 20), (105.4, 30), (105.6, 40)):
        clock.now = at
        answers.append(steady.add(count))
    assert answers == [False, False, False, False, False, True]
    assert steady.result() == {"counted": 100.0, "seconds": pytest.approx(3.1), "slowest_second": 10.0}
    assert capsys.readouterr().out == "steady\n"


def test_a_wide_window_is_seen_three_times_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    monkeypatch.setattr(steady_module, "time", clock)
    steady = Steady(warm_up_s=1.0, seconds=1.0, window=100)
    answers = []
    for at, count in ((103.0, 60), (104.0, 60), (107.0, 150), (110.0, 149), (113.5, 1)):
        clock.now = at
        answers.append((steady.has_begun, steady.add(count)))
    assert answers == [(False, False), (False, False), (True, False), (True, False), (True, True)]
    assert steady.result() == {"counted": 300.0, "seconds": pytest.approx(9.5), "slowest_second": 0.0}


def test_samples_of_a_store_that_is_not_purged_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = throughput.purged([900, 1_000, 400, 700], 3_000)
    assert (facts["times_fewer"], facts["tasks_in_store_min"], facts["tasks_in_store_max"]) == (1, 400, 1_000)
    with pytest.raises(RuntimeError, match="of 3,000 finished tasks 3,100 were in the store at once"):
        throughput.purged([1_000, 2_000, 3_100], 3_000)
    with pytest.raises(RuntimeError, match="never became fewer"):
        throughput.purged([1_000, 1_000, 1_100], 3_000)


def test_a_stamp_is_read_as_it_was_written_and_changes_no_size() -> None:
    spec = stamped(echo_spec(), 1_234_567_890_123)
    assert stamp_of(spec.input.data) == 1_234_567_890_123
    assert len(spec.input.data) == PAYLOAD_BYTES


def test_varied_work_asks_for_all_zones_and_pipelines_have_a_hundred_items_on_average() -> None:
    specs = [WORKS["varied"].spec(number) for number in range(200)]
    assert len({spec.selector for spec in specs} - {""}) == ZONES
    assert len({spec.fairness_key for spec in specs}) == 100
    items = [pipeline_items(number) for number in range(161)]
    assert (sum(items) / len(items), min(items), max(items)) == (100.0, 20, 180)
    assert len(WORKS["pipeline"].spec(7).collaboration.pipeline.items) == pipeline_items(7)
    assert number_of("run-7") == 7
