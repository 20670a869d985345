"""The words and numbers of the page, and the filter as chips change it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.http.dashboard.stage import Visit
from upbeat_server.rpc.filter import read_filter

CALL = """async ([module, name, given]) => {
  const text = await import(`${location.origin}/text/${module}.js`);
  return text[name](...given);
}"""


def told(visit: Visit, module: str, name: str, *given: Any) -> Any:
    """What a function of the page answers."""
    if visit.page.url == "about:blank":
        visit.go()
    return visit.page.evaluate(CALL, [module, name, list(given)])


def test_durations_are_told_in_the_unit_that_a_person_would_choose(visit: Visit) -> None:
    expected = {
        0: "0 s",
        0.000_34: "340 µs",
        0.0012: "1.2 ms",
        0.25: "250 ms",
        0.9996: "1.00 s",
        12.34: "12.3 s",
        125: "2 m 05 s",
        11_520: "3 h 12 m",
        187_200: "2 d 4 h",
    }
    assert {given: told(visit, "units", "duration", given) for given in expected} == expected
    assert told(visit, "units", "duration", None) == "\N{EN DASH}"


def test_numbers_stay_short(visit: Visit) -> None:
    assert told(visit, "units", "compact", "1234567") == "1.23M"
    assert told(visit, "units", "count", "1234567") == "1,234,567"
    assert told(visit, "units", "rate", 0.25) == "0.25"
    assert told(visit, "units", "percent", 0.987) == "99 %"
    assert told(visit, "units", "seconds", "1.500s") == 1.5


@pytest.mark.parametrize(
    ("before", "field", "value", "after"),
    [
        ("", "state", "QUEUED", "state = QUEUED"),
        ("state = QUEUED", "state", "FAILED", "state = FAILED"),
        ("state = QUEUED AND type = echo", "state", None, "type = echo"),
        ('labels.team = "a b"', "priority", "HIGH", 'labels.team = "a b" AND priority = HIGH'),
        ('labels.q = "say \\"hi\\" \\\\"', "type", "echo", 'labels.q = "say \\"hi\\" \\\\" AND type = echo'),
        ("type = echo", "parent", "", 'type = echo AND parent = ""'),
        (
            'create_time >= "2026-01-01T00:00:00Z"',
            "state",
            "FAILED",
            "create_time >= 2026-01-01T00:00:00Z AND state = FAILED",
        ),
        ("state = = broken", "state", "FAILED", "state = FAILED"),
    ],
)
def test_a_chip_changes_one_comparison_and_leaves_the_others(
    visit: Visit, before: str, field: str, value: str | None, after: str
) -> None:
    assert told(visit, "filter", "withValue", before, field, value) == after
    read_filter(after)  # The server reads what the page writes.
    if value is not None:
        assert told(visit, "filter", "valueOf", after, field) == value


ROWS = """async (task) => {
  const { attemptRows } = await import(`${location.origin}/parts/timeline.js`);
  const seconds = (ms) => (ms - Date.parse(task.createTime)) / 1000;
  return attemptRows(task, Date.parse(task.endTime), (agent) => agent).map((row) => [
    row.mark,
    ...row.spans.filter((span) => span.toMs > span.fromMs).map((span) => [
      span.kind, seconds(span.fromMs), seconds(span.toMs),
    ]),
  ]);
}"""


def ran(number: int, outcome: str, start_s: int, end_s: int) -> dict[str, Any]:
    """An attempt as it is answered."""
    start, end = (f"2026-01-01T00:00:{second:02}Z" for second in (start_s, end_s))
    return {
        "attempt": number,
        "agentId": f"a{number}",
        "outcome": f"OUTCOME_{outcome}",
        "startTime": start,
        "endTime": end,
    }


@pytest.mark.parametrize(
    ("attempts", "rows"),
    [
        (
            [ran(1, "HEDGED", 2, 20), ran(2, "COMPLETED", 10, 20)],
            [["#1", ["wait", 0, 2], ["HEDGED", 2, 20]], ["#2", ["COMPLETED", 10, 20]]],
        ),
        (
            [ran(2, "CANCELLED", 10, 20), ran(1, "COMPLETED", 2, 20)],
            [["#1", ["wait", 0, 2], ["COMPLETED", 2, 20]], ["#2", ["CANCELLED", 10, 20]]],
        ),
        (
            [ran(1, "HEDGED", 2, 9), ran(2, "FAILED", 5, 7), ran(3, "COMPLETED", 15, 20)],
            [
                ["#1", ["wait", 0, 2], ["HEDGED", 2, 9]],
                ["#2", ["FAILED", 5, 7]],
                ["#3", ["wait", 9, 15], ["COMPLETED", 15, 20]],
            ],
        ),
    ],
)
def test_attempts_are_drawn_as_they_began_with_no_wait_while_one_runs(
    visit: Visit, attempts: list[dict[str, Any]], rows: list[Any]
) -> None:
    task = {"createTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:20Z", "attempts": attempts}
    visit.go()
    assert visit.page.evaluate(ROWS, {**task, "state": "STATE_COMPLETED"}) == rows
