"""What a traceparent says, by the rules of W3C Trace Context, and the ids of our own spans."""

from __future__ import annotations

import msgspec
import pytest

from upbeat_server.engine.model import Attempt, TaskRecord
from upbeat_server.telemetry.trace_context import (
    TraceParent,
    attempt_span_id,
    collaboration_span_id,
    read_traceparent,
    trace_id_of,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = TraceParent(int(TRACE, 16), int(SPAN, 16), 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", GIVEN),
        (f"00-{TRACE}-{SPAN}-00", msgspec.structs.replace(GIVEN, flags=0)),
        (f"cc-{TRACE}-{SPAN}-01-what-will-be", GIVEN),
        (f"cc-{TRACE}-{SPAN}-01", GIVEN),
        (f"cc-{TRACE}-{SPAN}-01.what-will-be", None),
        (f"00-{TRACE}-{SPAN}-01-what-will-be", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f" 00-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        (f"00-{TRACE[:-1]}\u0661-{SPAN}-01", None),
        ("00-1-2-03", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_or_ignored_as_the_standard_says(
    text: str, expected: TraceParent | None
) -> None:
    assert read_traceparent(text) == expected


def test_a_traceparent_is_written_as_it_is_read_but_for_flags_that_nobody_knows() -> None:
    assert str(GIVEN) == f"00-{TRACE}-{SPAN}-01"
    assert str(msgspec.structs.replace(GIVEN, flags=0xFE)) == f"00-{TRACE}-{SPAN}-02"


def test_every_attempt_has_a_span_of_its_own_that_is_always_the_same() -> None:
    attempts = [Attempt(1, "a", 100), Attempt(2, "a", 200), Attempt(2, "a", 300)]
    ids = [attempt_span_id(GIVEN.trace_id, "default", 7, attempt) for attempt in attempts]
    ids.append(attempt_span_id(GIVEN.trace_id, "other", 7, attempts[0]))
    ids.append(attempt_span_id(GIVEN.trace_id, "default", 8, attempts[0]))
    ids.append(attempt_span_id(GIVEN.trace_id + 1, "default", 7, attempts[0]))
    ids.append(collaboration_span_id(GIVEN.trace_id, "default", 7))
    assert len(set(ids)) == len(ids)
    assert all(0 < number < 1 << 64 for number in ids)
    ended = Attempt(1, "a", 100, 150, 1)
    assert attempt_span_id(GIVEN.trace_id, "default", 7, ended) == ids[0]
    assert ids[0] == 14571204182358718845, "a release that changes it cuts traces that are under way"


def test_a_family_that_nobody_gave_a_trace_has_one_of_its_own() -> None:
    root = TaskRecord(1, 3, 1_000)
    child = TaskRecord(2, 2, 1_500, parent_id=1, root_id=1, submit_ms=1_000)
    elsewhere = TaskRecord(1, 3, 1_001)
    assert trace_id_of("default", root) == trace_id_of("default", child)
    others = {trace_id_of("other", root), trace_id_of("default", elsewhere)}
    assert trace_id_of("default", root) not in others
    assert len(others) == 2
