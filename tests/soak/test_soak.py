"""A soak of seconds: the load does everything, the samples show it, and a planted leak is flagged."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.soak import __main__ as command
from tests.soak import report
from tests.soak.report import write
from tests.soak.samples import FALLING, SERIES, Samples, Series
from tests.soak.soak import Outcome, Plan, judge, soak
from tests.soak.tally import Tally
from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
WORK = {
    "agents came",
    "attempts completed",
    "events watched",
    "pages listed",
    "stats seen",
    "submitted alone",
    "submitted by streams",
    "submitted in batches",
    "waited for",
}


class LeakyServer(ServerProcess):
    module = "tests.soak.leaky_server"


async def test_a_short_soak_does_everything_and_flags_the_leak_that_is_planted(tmp_path: Path) -> None:
    plan = Plan(5.0, every_s=0.1, tasks_per_s=100, agents=6, callers=1, fleets=1, server=LeakyServer)
    outcome = await soak(plan, tmp_path)
    assert set(outcome.tally.done) >= WORK
    assert outcome.tally.errors == {}
    assert outcome.samples.finished > 0
    grown = {trend.name for trend in outcome.trends if not trend.is_level}
    assert {"descriptors", "event loop tasks"} <= grown
    assert "threads" not in grown
    write(outcome, tmp_path / "report")
    assert (tmp_path / "report" / "soak.png").stat().st_size > 10_000
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert any(fault.startswith("descriptors grew by") for fault in told["faults"])
    assert "- event loop tasks grew by" in (tmp_path / "report" / "report.md").read_text()


def samples(leaking: str = "", per_s: float = 0.0) -> Samples:
    """Samples of a healthy server, but for the series that leaks: noise, and a saw tooth for the log."""
    seconds = 240
    rng = Random("samples")
    made = Samples(list(range(seconds)), finished=100)
    for series in SERIES:
        level, noise = (100 * MIB, MIB) if series.unit == "bytes" else (100.0, 5.0)
        leak = per_s if series.name == leaking else 0.0
        made.values[series.name] = [
            level
            + rng.gauss(0, noise)
            + leak * second
            + (second % 40 * 0.5 * MIB if "log" in series.name else 0)
            for second in range(seconds)
        ]
    return made


def outcome_of(made: Samples, tally: Tally | None = None) -> Outcome:
    return Outcome(Plan(600), made, tally or Tally(), judge(made))


def test_a_healthy_run_has_no_fault() -> None:
    assert outcome_of(samples()).faults == []


@pytest.mark.parametrize("series", SERIES, ids=[series.name for series in SERIES])
def test_each_series_that_grows_or_falls_is_a_fault_with_its_name(series: Series) -> None:
    if series.name == FALLING:
        leaking, word = samples(series.name, -0.4), "fell"
    else:
        leaking, word = samples(series.name, 0.5 * MIB if series.unit == "bytes" else 2.0), "grew"
    (fault,) = outcome_of(leaking).faults
    assert fault.startswith(f"{series.name} {word} by ")


def test_an_error_that_nobody_provoked_is_a_fault() -> None:
    tally = Tally()
    tally.errors["single: INTERNAL: x"] += 2
    assert outcome_of(samples(), tally).faults == ["2 x single: INTERNAL: x"]


def test_a_run_in_which_nothing_was_done_is_a_fault() -> None:
    idle = samples()
    idle.finished = 0
    assert outcome_of(idle).faults == ["no task was finished"]


@pytest.mark.parametrize(("per_s", "code"), [(0.0, 0), (0.5 * MIB, 1)])
def test_the_exit_code_is_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_s: float, code: int
) -> None:
    async def pretend(plan: Plan, folder: Path) -> Outcome:
        return outcome_of(samples("memory", per_s))

    monkeypatch.setattr(command, "soak", pretend)
    monkeypatch.setattr(report, "plot", lambda outcome, path: None)  # Drawn once above.
    monkeypatch.setattr("sys.argv", ["tests.soak", "--minutes", "1", "--out", str(tmp_path / "out")])
    assert command.main() == code
    assert (tmp_path / "out" / "report.md").exists()
