"""The benchmark's own logic: rows, ratios, targets, what is run, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench.figures import Figure, Missing, percentile
from tests.bench.machine import cpu_model, machine
from tests.bench.ratios import DURABLE, FSYNCING, MEMORY, RATIOS, Ratio, ratios
from tests.bench.report import Failed, Report, Row
from tests.bench.scenarios import SCENARIOS, Scenario, chosen, measure, rows
from tests.bench.targets import TARGETS, Target
from tests.bench.terms import Terms

QUICK, FULL = Terms(is_quick=True), Terms()


def figure(name: str, value: float, **facts: float | str) -> Figure:
    return Figure(name, value, "tasks/s", facts)


def report_of(*given: Row) -> Report:
    return Report({"cores": 2}, rows=list(given))


def test_a_percentile_is_a_sample_and_the_last_one_for_all() -> None:
    samples = [float(number) for number in range(100, 0, -1)]
    assert (percentile(samples, 0.5), percentile(samples, 0.99), percentile(samples, 1.0)) == (51, 100, 100)
    assert percentile([], 0.5) == 0.0


def test_a_target_is_shown_beside_its_figure_whether_it_is_met_or_not() -> None:
    met, missed = figure(DURABLE, 20_000), figure(MEMORY, 34_999.5)
    table = report_of(met, missed, figure("throughput.other", 1)).table()
    assert f"| {DURABLE} | 20,000 | tasks/s | >= 20,000: met |  |" in table
    assert f"| {MEMORY} | 34,999.5 | tasks/s | >= 35,000: not met |  |" in table
    assert "| throughput.other | 1 | tasks/s |  |  |" in table
    assert report_of(met, missed).exit_code == 0


@pytest.mark.parametrize(
    ("comparison", "below", "at", "above"),
    [
        (">=", False, True, True),
        (">", False, False, True),
        ("<=", True, True, False),
        ("<", True, False, False),
    ],
)
def test_a_target_knows_its_bound(comparison: str, below: bool, at: bool, above: bool) -> None:
    target = Target(comparison, 10)
    assert [target.is_met(value) for value in (9.99, 10, 10.01)] == [below, at, above]


def test_every_target_is_that_of_a_figure_some_scenario_has() -> None:
    names = {scenario.name for scenario in SCENARIOS}
    ratio_names = {ratio.name for ratio in RATIOS}
    assert [
        name
        for name in TARGETS
        if name not in ratio_names and not any(name == each or name.startswith(f"{each}.") for each in names)
    ] == []


def test_a_row_that_is_missing_fails_nothing_and_one_that_failed_does() -> None:
    missing, failed = Missing("peer.dask", "no wheel | for\nthis Python"), Failed("half_load", "too slow")
    assert report_of(missing).exit_code == 0
    both = report_of(missing, failed)
    assert both.exit_code == 1
    assert "| peer.dask | missing: no wheel / for this Python | | | |" in both.table()
    assert "| half_load | failed: too slow | | | |" in both.table()


def test_a_ratio_of_which_a_part_is_missing_is_absent() -> None:
    assert list(ratios([figure(DURABLE, 10)])) == []
    assert list(ratios([figure(DURABLE, 10), figure("relay.batched", 0)])) == []
    (found,) = ratios([figure(DURABLE, 10), figure("relay.batched", 40)])
    assert (found.name, found.value, found.unit) == (f"{DURABLE} / relay.batched", 0.25, "x")
    assert found.facts == {"of": 10, "relay.batched": 40}


def test_of_several_peers_the_fastest_counts() -> None:
    rays = [figure("peer.ray_tasks.throughput", 5), figure("peer.ray_actor.throughput", 20)]
    found = {ratio.name: ratio for ratio in ratios([figure(MEMORY, 100), *rays])}
    assert found[f"{MEMORY} / Ray"].value == 5
    assert "peer.ray_actor.throughput" in found[f"{MEMORY} / Ray"].facts


def test_the_best_fsyncing_peer_is_one_that_stores_results() -> None:
    peers = [
        figure("peer.a.throughput", 90, durability="fsync every 2 minutes, results not stored"),
        figure("peer.b.throughput", 80, durability="no"),
        figure("peer.c.throughput", 10, durability="fsync each commit, results stored"),
        figure("peer.d.throughput", 20, durability="fsync each commit, results stored"),
        figure("peer.d.p50", 70, durability="fsync each commit, results stored"),
    ]
    (found,) = ratios([figure(DURABLE, 100), *peers], [Ratio(DURABLE, FSYNCING)])
    assert (found.value, list(found.facts)) == (5, ["of", "peer.d.throughput"])


def test_what_is_written_holds_all_rows_by_name_and_nothing_of_an_older_run(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    report_of(figure("relay.unary.rate", 1)).write(folder)
    given = [figure(DURABLE, 10, window=64.0), figure("relay.batched", 40)]
    report_of(*given, Missing("peer.arq", "no Redis"), Failed("half_load", "broke")).write(folder)
    document = json.loads((folder / "latest.json").read_text())
    assert set(document["figures"]) == {DURABLE, "relay.batched"}
    assert document["figures"][DURABLE] == {
        "value": 10,
        "unit": "tasks/s",
        "facts": {"window": 64.0},
        "target": ">= 20,000",
        "met": False,
    }
    assert document["ratios"][f"{DURABLE} / relay.batched"]["value"] == 0.25
    assert (document["missing"], document["failed"]) == ({"peer.arq": "no Redis"}, {"half_load": "broke"})
    assert (document["machine"], document["kind"]) == ({"cores": 2}, "full")
    assert (folder / "latest.md").read_text().count("| missing: ") == 1


def test_the_machine_is_described() -> None:
    assert set(machine()) == {"cores", "cpu", "python", "grpcio", "system", "load_average"}
    assert (
        cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: other\n")
        == "Some CPU @ 2 GHz"
    )
    assert cpu_model("") == ""


def scenario(name: str, *outcomes: Figure | Missing, **terms: object) -> Scenario:
    return Scenario(name, lambda *_: outcomes, **terms)  # type: ignore[arg-type]


def test_scenarios_are_chosen_by_a_word_and_bring_what_they_need() -> None:
    among = [
        scenario("first"),
        scenario("second.small"),
        scenario("second.large", is_long=True, needs="first"),
    ]

    def names(only: str, terms: Terms) -> list[str]:
        return [each.name for each in chosen(only, terms, among)]

    assert names("", FULL) == ["first", "second.small", "second.large"]
    assert names("", QUICK) == ["first", "second.small"]
    assert names("second.large", QUICK) == ["first", "second.large"]
    assert names("large", QUICK) == []
    assert names("large", FULL) == ["first", "second.large"]
    assert names("large", Terms(rate=5.0)) == ["second.large"]
    assert names("third", FULL) == []


def test_what_a_scenario_measured_before_it_broke_is_kept() -> None:
    def run(*_: object) -> object:
        yield figure("half", 1)
        raise RuntimeError("the rest is silence")

    broken = Scenario("broken", run)  # type: ignore[arg-type]
    assert list(rows(broken, QUICK, {})) == [
        figure("half", 1),
        Failed("broken", "RuntimeError: the rest is silence"),
    ]


def test_a_scenario_is_told_what_was_found_before() -> None:
    def run(_: Terms, found: object) -> list[Figure]:
        return [figure("later", dict(found)["soon"] / 2)]  # type: ignore[call-overload]

    among = [scenario("soon", figure("soon", 8)), Scenario("later", run)]
    assert list(measure("", QUICK, among)) == [figure("soon", 8), figure("later", 4)]


def test_peers_are_in_a_full_run_and_in_a_quick_one_only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def measure_peers(only: str, *, quick: bool) -> Iterator[Row]:
        asked.append((only, quick))
        yield Missing("peer.dask", "no wheel")
        raise OSError("disk full")

    monkeypatch.setattr("tests.bench.peers.measure", measure_peers)
    found = [Missing("peer.dask", "no wheel"), Failed("peer", "OSError: disk full")]
    assert list(measure("", QUICK, [])) == []
    assert list(measure("", FULL, [])) == list(measure("peer.dask", QUICK, [])) == found
    assert asked == [("", False), ("peer.dask", True)]


@pytest.mark.parametrize(
    ("given", "code"),
    [(Missing("soon", "gone"), 0), (Figure(DURABLE, 1, "tasks/s"), 0), (Failed("soon", "broke"), 1)],
)
def test_the_exit_code_is_that_of_the_rows(
    given: Row, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--quick", "--only", "soon", "--rate", "7"])
    asked: list[tuple[str, Terms]] = []

    def measured(only: str, terms: Terms) -> list[Row]:
        asked.append((only, terms))
        return [given]

    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr(command, "OUT", tmp_path)
    assert command.main() == code
    assert asked == [("soon", Terms(is_quick=True, rate=7.0))]
    assert given.name in capsys.readouterr().out
    assert given.name in (tmp_path / "latest.json").read_text()


def test_a_word_that_no_scenario_is_called_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--quick", "--only", "nobody"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert "no scenario of this run is called 'nobody'" in capsys.readouterr().err
