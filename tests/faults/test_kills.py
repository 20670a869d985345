"""``kill -9`` of the server again and again, under load; ``make faults KIND=kills`` is the long form."""

from __future__ import annotations

from pathlib import Path

from tests.faults.episode import Episode

KILLS = 8


def test_a_server_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    report = Episode(tmp_path, "kills", ("kill server",)).run(KILLS)
    assert report.problems == []
    assert report.kills == KILLS
    assert report.counts["Acknowledged"] > KILLS
    assert report.counts["COMPLETED"] > 0
