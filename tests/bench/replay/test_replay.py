"""The short form of ``make replay``: a made-up trace, a small fleet, the real engine."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from statistics import median

import msgspec
import pytest

from tests.bench.replay import __main__ as replay
from tests.bench.replay import baselines, fleet, scenes, trace
from tests.bench.replay.stage import Play, Stage
from upbeat_server.engine.limits import ChoiceRules

ROWS = 3_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two types of requests, one file each; unsorted, with names of their own."""
    chance = random.Random(1)
    for name, scale in (("short", 40), ("long", 160)):
        lines = ["arrival,input_tokens,output_tokens"]
        for _ in range(ROWS // 2):
            output_tokens = int(chance.expovariate(1 / scale)) + 1
            lines.append(f"{chance.uniform(0, 900):.3f},{chance.randrange(100, 4_000)},{output_tokens}")
        (tmp_path / f"{name}.csv").write_text("\n".join([*lines, ""]))
    return tmp_path


def found(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, dict[str, float]]:
    """The medians of a replay."""
    monkeypatch.setattr(replay, "OUT", folder / "replay.json")
    assert replay.main([str(folder), "--seeds", "1", "--brief", *options]) == 0
    medians: dict[str, dict[str, float]] = json.loads((folder / "replay.json").read_text())["medians"]
    return medians


def test_the_default_is_ahead_of_all_that_knows_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = found(folder, monkeypatch)
    default = rows.pop(replay.DEFAULT)
    assert set(rows) == {*replay.POLICIES[1:], *baselines.BASELINES}
    for blind in (replay.BOUND, replay.PULL, "least_loaded", "random", "round_robin", "power_of_two"):
        assert default["mean_s"] < 0.9 * rows[blind]["mean_s"], blind
    assert default["mean_s"] < 1.5 * rows[replay.ORACLE]["mean_s"]
    assert 0 < default["extra_runs"] <= 0.05  # Second runs.


def test_a_row_that_cannot_be_read_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "long.csv").open("a") as file:
        file.write("12,many,3\n")
    assert replay.main([str(folder)]) == 2
    assert f"long.csv, line {ROWS // 2 + 2}: 'many' is no number of tokens" in capsys.readouterr().err


def test_an_absent_trace_is_skipped_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main([str(tmp_path / "no.csv")]) == 0
    assert capsys.readouterr().out.startswith("SKIPPED")


def test_arrivals_are_seconds_milliseconds_or_times(tmp_path: Path) -> None:
    rows = range(trace.ROWS_MIN)
    files = {
        "seconds": "arrival,input,output\n" + "".join(f"{row},1,1\n" for row in rows),
        "milliseconds": "arrival_ms,input,output\n" + "".join(f"{row * 1_000},1,1\n" for row in rows),
        "times": "".join(f"2026-01-01 00:{row // 60:02}:{row % 60:02}.0,1,1\n" for row in rows).join(
            ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "")
        ),
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.csv"
        path.write_text(text)
        assert [request.arrival_s for request in trace.read([path], 1_000)] == list(rows), name


def test_a_fleet_is_a_parameter_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_text('{"agents": 3, "slots": 2, "slow": [], "slow_in_the_middle": []}')
    assert (fleet.read(path).agents, fleet.read(path).speed_sd) == (3, 0.40)
    path.write_text('{"agents": 3}')
    fleet.read(path)
    path.write_text('{"agents": 1}')
    with pytest.raises(fleet.FleetInvalid, match="numbers of agents, from 0 to 0"):
        fleet.read(path)
    path.write_text('{"cores": 1}')
    with pytest.raises(fleet.FleetInvalid, match="cores"):
        fleet.read(path)


def test_the_scenes_are_part_of_the_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(replay, "OUT", folder / "replay.json")
    assert replay.main([str(folder), "--seeds", "1", "--policies", replay.DEFAULT]) == 0
    found = json.loads((folder / "replay.json").read_text())["scenes"]
    assert set(found) == set(scenes.SCENES)
    churned, waits, flooded, degraded = (found[name] for name in scenes.SCENES)
    assert churned["mean of predictive"] < churned["mean of least_loaded"]
    assert churned["extra runs of predictive in %"] > 0  # Who leaves leaves work behind.
    assert waits["CRITICAL"] <= waits["HIGH"] <= waits["NORMAL"] <= waits["LOW"]
    assert flooded["other keys"] < 0.5 * flooded["other keys, first come"]
    assert 0 < degraded["slow: tasks of one type"] <= 20
    assert 0 < degraded["failing: tasks of one type"] <= 20
    printed = capsys.readouterr().out
    assert all(f"{goal.figure} " in printed for goals in scenes.GOALS.values() for goal in goals)


def test_what_cannot_be_played_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(replay, "OUT", folder / "replay.json")
    lonely = folder / "fleet.json"
    lonely.write_text('{"agents": 1, "slow": [], "slow_in_the_middle": []}')
    options = ("--fleet", str(lonely), "--churn", "0", "--rows", "300", "--policies", replay.DEFAULT)
    assert replay.main([str(folder), "--seeds", "1", *options]) == 0
    printed = capsys.readouterr().out
    churned, _, _, degraded = scenes.SCENES
    assert f"{churned}: not played" in printed
    assert f"{degraded}: not played" in printed


def test_a_second_run_ends_a_late_request_and_is_counted() -> None:
    alike = fleet.Shape(agents=4, slots=1, speed_sd=0.0, noise_sd=0.0, affinities=(1.0,))
    shape = msgspec.structs.replace(alike, slowness=50.0, slow=())
    requests = even_requests(600)
    simulated = fleet.Fleet(shape, requests, 0.4, seed=1)
    slow_ms = simulated.run_ms(0, shape.slow_in_the_middle[0], simulated.third_ms)
    patient = Stage(requests, simulated, ChoiceRules(hedge_share=0.0)).run()
    assert patient.attempts == len(requests)
    assert max(patient.latencies) >= slow_ms
    outcome = Stage(requests, simulated, ChoiceRules()).run()
    assert 0 < outcome.attempts - len(requests) <= 0.05 * len(requests)
    assert max(outcome.latencies) < slow_ms / 2


def test_a_scene_spares_a_fleet_what_its_sound_agents_cannot_do() -> None:
    requests = even_requests(200)
    loads = []
    for shape in (fleet.Shape(), fleet.Shape(agents=3)):
        simulated = scenes.bearable(0.8, requests, shape, 1)
        capacity = shape.slots * sum(simulated.speeds)
        loads.append(sum(simulated.work_s) / simulated.span_s / capacity)
        sound = shape.slots * sum(simulated.speeds[2:])
        assert loads[-1] * capacity <= 0.9 * sound + 0.001
    assert loads[0] == pytest.approx(0.8)
    assert loads[1] < 0.6


@pytest.mark.parametrize(
    ("mix", "problem"),
    [("5/15/80", "these are 3"), ("5/15/60/30", "100 together"), ("a/b/c/d", "'a/b/c/d' is no mix")],
)
def test_a_mix_of_classes_is_a_parameter_and_a_bad_one_is_refused(
    mix: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scenes.mix_of("10/20/50/20") == (0.1, 0.2, 0.5, 0.2)
    with pytest.raises(SystemExit):
        replay.main(["trace.csv", "--mix", mix])
    assert problem in capsys.readouterr().err


def test_fleets_differ_in_who_is_fast_and_not_in_what_they_can_do() -> None:
    requests = even_requests(1)
    fleets = [fleet.Fleet(fleet.Shape(), requests, 0.8, seed) for seed in range(1, 10)]
    assert len({tuple(each.speeds) for each in fleets}) == len(fleets)
    for each in fleets:
        assert sorted(each.speeds) == sorted(fleets[0].speeds)
        assert sum(each.speeds[::2]) == pytest.approx(sum(each.speeds[1::2]), rel=0.1)
    # Those that are slow are of all kinds, from the first three fleets on.
    for agent in fleet.Shape().troubled:
        assert 0.8 < median(each.speeds[agent] for each in fleets[:3]) < 1.2


def test_an_agent_that_is_told_to_stop_has_a_free_slot_at_once() -> None:
    alike = fleet.Shape(agents=2, slots=1, speed_sd=0.0, noise_sd=0.0, affinities=(1.0,))
    shape = msgspec.structs.replace(alike, slowness=50.0, slow_in_the_middle=())
    requests = even_requests(200)
    simulated = fleet.Fleet(shape, requests, 0.4, seed=1)
    rules = ChoiceRules(policy="round_robin")
    outcome = Stage(requests, simulated, rules, Play(attempt_timeout_ms=5_000)).run()
    assert min(outcome.latencies) > 0
    assert outcome.attempts > len(requests)
    begun_ms = [at_ms for at_ms, _ in outcome.handed[0]]
    apart_ms = [later - earlier for earlier, later in itertools.pairwise(begun_ms)]
    assert min(apart_ms) >= 5_000
    assert median(apart_ms) < 10_000 < simulated.run_ms(0, 0, 0)


def even_requests(rows: int) -> list[trace.Request]:
    """Requests of a second's work, one a second."""
    return [trace.Request(float(row + 1), "even", 0, 27) for row in range(rows)]
