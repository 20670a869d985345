from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.rows import CANCELLED, COMPLETED, FAILED, QUEUED, RUNNING
from upbeat_server.store import sqlite_reader
from upbeat_server.store.sqlite_plan import WHOLE, Span, plan_of
from upbeat_server.store.sqlite_schema import migrations, open_writer
from upbeat_server.store.store import TaskQuery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = open_writer(tmp_path / "x.db", migrations())
    yield connection
    connection.close()


def explain(connection: apsw.Connection, sql: str, bindings: object) -> str:
    rows = connection.execute(f"explain query plan {sql}", bindings)  # type: ignore[arg-type]
    return "\n".join(str(row[3]) for row in rows)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("query", "span", "walk"),
    [
        (TaskQuery(), WHOLE, "task USING PRIMARY KEY (namespace_id=? AND task_id>? AND task_id<?)"),
        (TaskQuery(states=(COMPLETED,)), WHOLE, "task USING PRIMARY KEY (namespace_id=? AND task_id>?"),
        (TaskQuery(types=("a", "b")), WHOLE, "task USING PRIMARY KEY (namespace_id=? AND task_id>?"),
        (TaskQuery(priorities=(1,)), Span(5, 9), "task USING PRIMARY KEY (namespace_id=? AND task_id>?"),
        (
            TaskQuery(states=(QUEUED, RUNNING)),
            WHOLE,
            "task USING INDEX task_end (namespace_id=? AND end_ms=? AND task_id>? AND task_id<?)",
        ),
        (
            TaskQuery(states=(RUNNING,), types=("a",)),
            WHOLE,
            "task USING INDEX task_running (namespace_id=? AND task_id>? AND task_id<?)",
        ),
        (
            TaskQuery(states=(QUEUED,), priorities=(3,)),
            WHOLE,
            "task USING INDEX task_priority (namespace_id=? AND priority=? AND task_id>? AND task_id<?)",
        ),
        (
            TaskQuery(states=(QUEUED,), priorities=(2,)),
            WHOLE,
            "task USING INDEX task_end (namespace_id=? AND end_ms=? AND task_id>? AND task_id<?)",
        ),
        (
            TaskQuery(states=(FAILED, CANCELLED)),
            WHOLE,
            "task USING INDEX task_unsuccessful (namespace_id=? AND task_id>? AND task_id<?)",
        ),
        (
            TaskQuery(states=(FAILED,), types=("a",)),
            WHOLE,
            "task USING INDEX task_unsuccessful (namespace_id=?",
        ),
        (
            TaskQuery(types=("a",)),
            WHOLE,
            "task USING INDEX task_type (namespace_id=? AND type=? AND task_id>? AND task_id<?)",
        ),
        (
            TaskQuery(parent_id=4, types=("a",), labels=(("a", "b"),)),
            WHOLE,
            "task USING INDEX task_parent (namespace_id=? AND parent_id=? AND task_id>? AND task_id<?)",
        ),
        (
            TaskQuery(labels=(("a", "b"), ("c", "d")), states=(QUEUED,), types=("a",)),
            WHOLE,
            "label USING PRIMARY KEY (namespace_id=? AND key=? AND value=? AND task_id>? AND task_id<?)",
        ),
    ],
)
def test_a_query_walks_the_index_that_fits_it_in_the_order_of_ids(
    connection: apsw.Connection, query: TaskQuery, span: Span, walk: str, descending: bool
) -> None:
    query = TaskQuery(**{**{f: getattr(query, f) for f in query.__struct_fields__}, "descending": descending})
    plan = plan_of(1, query, span)
    explained = explain(connection, plan.sql, {**plan.bindings, "limit": 5})
    assert f"SEARCH {walk}" in explained
    assert "TEMP B-TREE" not in explained
    assert "SCAN task" not in explained
    assert "SCAN label" not in explained


def test_further_labels_are_looked_up_not_scanned(connection: apsw.Connection) -> None:
    plan = plan_of(1, TaskQuery(labels=(("a", "b"), ("c", "d"))))
    explained = explain(connection, plan.sql, {**plan.bindings, "limit": 5})
    assert "SEARCH other" in explained
    assert "SCAN other" not in explained
    assert "SEARCH task USING PRIMARY KEY (namespace_id=? AND task_id=?)" in explained


def test_a_narrow_range_of_ends_is_found_by_the_end(connection: apsw.Connection) -> None:
    plan = plan_of(1, TaskQuery(end_from_ms=5, end_to_ms=9), Span(is_end_narrow=True))
    explained = explain(connection, plan.sql, {**plan.bindings, "limit": 5})
    assert "SEARCH task USING INDEX task_end (namespace_id=? AND end_ms>? AND end_ms<?)" in explained


def test_what_adoption_and_purge_ask_is_in_the_index(connection: apsw.Connection) -> None:
    for sql, bindings in (
        (sqlite_reader._FINISHED_REQUESTS, (1, 5, 6, 7)),
        (sqlite_reader._NEWEST_TO_GO, (1, 5)),
        (sqlite_reader._ENDED_IN_RANGE, (1, 5, 6, 7)),
    ):
        explained = explain(connection, sql, bindings)
        assert "SEARCH task USING COVERING INDEX task_end (namespace_id=? AND " in explained
        assert "TEMP B-TREE" not in explained


def test_a_purge_walks_the_ends_in_order_and_looks_at_parents_by_id(connection: apsw.Connection) -> None:
    bindings = {"namespace_id": 1, "end_ms": 5, "task_id": 6, "limit": 7}
    explained = explain(connection, sqlite_reader._ENDED_FIRST, bindings)
    assert "SEARCH task USING INDEX task_end (namespace_id=? AND end_ms>? AND " in explained
    assert "SEARCH parent USING PRIMARY KEY (namespace_id=? AND task_id=?)" in explained
    assert "TEMP B-TREE" not in explained


def test_members_are_found_from_their_unfinished_parents(connection: apsw.Connection) -> None:
    bindings = {"namespace_id": 1, "after_id": 5, "limit": 7}
    explained = explain(connection, sqlite_reader._MEMBERS, bindings)
    assert "SEARCH parent USING COVERING INDEX task_end (namespace_id=? AND end_ms=? AND " in explained
    assert "SEARCH member USING INDEX task_parent (namespace_id=? AND parent_id=? AND task_id>?)" in explained


def test_notes_are_read_in_their_order(connection: apsw.Connection) -> None:
    bindings = {"namespace_id": 1, "kind": "a", "key": "b", "limit": 7}
    explained = explain(connection, sqlite_reader._NOTES, bindings)
    assert "SEARCH note USING PRIMARY KEY (namespace_id=? AND (kind,key)>(?,?))" in explained
    assert "TEMP B-TREE" not in explained


def test_reading_by_id_and_by_creation_searches_the_primary_key(connection: apsw.Connection) -> None:
    found = explain(connection, sqlite_reader._TASKS, {"namespace_id": 1, "task_ids": "[1]"})
    assert "SEARCH task USING PRIMARY KEY (namespace_id=? AND task_id=?)" in found
    assert "SEARCH spec USING PRIMARY KEY (namespace_id=? AND task_id=?)" in found
    created = explain(connection, sqlite_reader._CREATED_BEFORE, {"namespace_id": 1, "create_ms": 1})
    assert "SEARCH task USING PRIMARY KEY (namespace_id=? AND task_id>?)" in created
