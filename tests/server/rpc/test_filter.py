"""The filter's grammar."""

from __future__ import annotations

import pytest

from upbeat_server.engine import reasons
from upbeat_server.rpc.filter import read_filter
from upbeat_server.runtime.refused import Refused
from upbeat_server.store.store import TaskQuery

NEW_YEAR_MS = 1_767_225_600_000
READ = {
    "": TaskQuery(),
    "   ": TaskQuery(),
    "state = QUEUED": TaskQuery(states=(2,)),
    "state=queued": TaskQuery(states=(2,)),
    "state = STATE_RUNNING AND priority = PRIORITY_HIGH": TaskQuery(states=(3,), priorities=(3,)),
    'type = "a/b" AND priority = low': TaskQuery(types=("a/b",), priorities=(1,)),
    'labels.team = "a b" AND labels.x.y = z': TaskQuery(labels=(("team", "a b"), ("x.y", "z"))),
    r'labels.q = "say \"hi\" \\ AND"': TaskQuery(labels=(("q", 'say "hi" \\ AND'),)),
    "parent = 00000000000000ff": TaskQuery(parent_id=255),
    'parent = "" AND state = QUEUED': TaskQuery(roots=True, states=(2,)),
    'create_time >= "2026-01-01T00:00:00Z"': TaskQuery(create_from_ms=NEW_YEAR_MS),
    'create_time < "2026-01-01T01:00:00+01:00" AND end_time >= "2026-01-01T00:00:00.0005Z"': TaskQuery(
        create_to_ms=NEW_YEAR_MS, end_from_ms=NEW_YEAR_MS + 1
    ),
    'end_time < "1969-01-01T00:00:00Z"': TaskQuery(end_to_ms=1),
}
REFUSED = [
    "state",
    "state =",
    "state = WAITING",
    "state = QUEUED OR state = RUNNING",
    "state = QUEUED AND",
    "AND state = QUEUED",
    "state = QUEUED state = RUNNING",
    "state = QUEUED AND state = RUNNING",
    "state != QUEUED",
    "state >= QUEUED",
    '"state" = QUEUED',
    "color = red",
    "labels. = a",
    "labels.a = 1 AND labels.a = 2",
    "type = ../x",
    "parent = 12",
    'parent = "" AND parent = 00000000000000ff',
    'parent = "" AND parent = ""',
    "create_time = 2026",
    'create_time <= "2026-01-01T00:00:00Z"',
    'create_time >= "2026-01-01T00:00:00"',
    'create_time >= "yesterday"',
    'labels.a = "open',
    "state = = QUEUED",
    "labels.a = " + "x" * 2_048,
]


@pytest.mark.parametrize(("text", "query"), READ.items(), ids=READ.keys())
def test_a_filter_is_a_query(text: str, query: TaskQuery) -> None:
    assert read_filter(text) == query


@pytest.mark.parametrize("text", REFUSED, ids=[text[:40] for text in REFUSED])
def test_what_is_no_filter_is_refused_by_name(text: str) -> None:
    with pytest.raises(Refused) as caught:
        read_filter(text)
    refusal = caught.value.refusal
    assert refusal.reason == reasons.INVALID_FIELD
    assert refusal.violations[0][0] == "filter"
