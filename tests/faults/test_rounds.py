"""A short form of ``make faults``: every kind of fault, under load, and an audit at the end."""

from __future__ import annotations

from pathlib import Path

from tests.faults.episode import FAULTS, Episode
from tests.support.facts import Acknowledged, Submitting


def test_nothing_is_lost_or_done_twice_whatever_is_killed_or_stopped(tmp_path: Path) -> None:
    episode = Episode(tmp_path, "short")
    report = episode.run(len(FAULTS))
    assert report.problems == []
    assert sorted(round_.fault for round_ in report.rounds) == sorted(FAULTS)
    # The load was one: all of it happened, or the audit says little.
    for name in ("Acknowledged", "CancelAnswered", "Seen", "Watched", "COMPLETED", "FAILED", "CANCELLED"):
        assert report.counts[name] > 0, name

    sent = Submitting(request_id="never-sent", body="")
    lie = Acknowledged(request_id="never-sent", task_id="00000000000000ff")
    assert episode.audit(sent, lie) == [
        "task 00000000000000ff of request never-sent was acknowledged and is lost"
    ]
