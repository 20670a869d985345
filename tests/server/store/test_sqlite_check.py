"""A store is damaged in one way after the other, and each is told with the task that it is in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec
import pytest

from tests.support.runtime import Worker, running, submit
from tests.support.stored_tasks import COMPLETED, QUEUED, RUNNING, UNSAFE, write_store
from upbeat_server.engine.model import (
    Collaboration,
    LeaseId,
    Parallel,
    Sequential,
    TaskRecord,
    TaskSpec,
    task_of,
)
from upbeat_server.store import codec
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.sqlite_check import Check, Violation
from upbeat_server.store.store import StoreInvalid

Damage = Callable[[apsw.Connection], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "x.db"
    asyncio.run(write_store(path))
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, sound: bytes) -> Path:
    path = tmp_path / "x.db"
    path.write_bytes(sound)
    return path


def found(path: Path) -> list[Violation]:
    return list(Check(path).violations())


def sql(statement: str, *bindings: int) -> Damage:
    return lambda connection: connection.execute(statement, bindings).fetchall()


def record(task_id: int, change: Callable[[TaskRecord], object]) -> Damage:
    """Write the bytes of one record anew, and nothing else."""

    def damage(connection: apsw.Connection) -> None:
        stored = connection.execute("select record from task where task_id = ?", (task_id,)).get
        decoded = codec.decode_record(stored)
        change(decoded)
        bindings = (codec.encode_record(decoded), task_id)
        connection.execute("update task set record = ? where task_id = ?", bindings)

    return damage


def put(**fields: object) -> Callable[[TaskRecord], object]:
    def change(decoded: TaskRecord) -> None:
        for name, value in fields.items():
            setattr(decoded, name, value)

    return change


def copy_task(from_id: int, to_id: int) -> Damage:
    """The task once more under another id, as a defect of ids would write it."""

    def damage(connection: apsw.Connection) -> None:
        for insert in (
            """insert into task
            select namespace_id, ?, state, type, priority, create_ms, end_ms, 0, request_id, record
            from task where task_id = ?""",
            "insert into spec select namespace_id, ?, spec from spec where task_id = ?",
            "insert into label select namespace_id, key, value, ? from label where task_id = ?",
        ):
            connection.execute(insert, (to_id, from_id))
        record(to_id, put(task_id=to_id))(connection)

    return damage


NEXT = UNSAFE + 1
DAMAGES: list[tuple[Damage, int, str]] = [
    (sql("update task set record = x'01c1' where task_id = ?", QUEUED), QUEUED, "a task record is damaged"),
    (sql("update task set record = x'' where task_id = ?", QUEUED), QUEUED, "has no version"),
    (sql("update task set record = x'0080' where task_id = ?", QUEUED), QUEUED, "has no version"),
    (sql("update spec set spec = x'01c1' where task_id = ?", QUEUED), QUEUED, "a task spec is damaged"),
    (sql("delete from spec where task_id = ?", RUNNING), RUNNING, "its spec is missing"),
    (sql("delete from task where task_id = ?", RUNNING), RUNNING, "a spec without its task"),
    (sql("delete from task where task_id = ?", QUEUED), QUEUED, "labels without their task"),
    (sql("delete from task where task_id = ?", COMPLETED), COMPLETED, "labels without their task"),
    (sql("insert into label values (1, 'k', 'v', ?)", NEXT), NEXT, "labels without their task"),
    (sql("delete from namespace"), 0, "tasks without their namespace"),
    (sql("update note set value = x'c1' where kind = 'bus.message'"), 0, "note bus.message 'news"),
    (sql("update note set key = 'news x' where kind = 'bus.message' and key like '%2'"), 0, "is damaged"),
    (sql("update note set value = x'81a2' where kind = 'bus.dead_letter'"), 0, "note bus.dead_letter"),
    (sql("update note set key = '0' where kind = 'bus.dead_letter'"), 0, "is of nobody"),
    (sql("delete from note where kind = 'bus.subscription'"), 0, "kept in the topic 'news', which nobody"),
    (
        sql("insert into note select 1, kind, 'news bob', value from note where kind = 'bus.subscription'"),
        0,
        "'news alice' and 'news bob' have one id",
    ),
    (sql("update note set value = x'c1' where kind = 'learned'"), 0, "note learned 'review a1' is damaged"),
    (sql("update note set value = x'910a' where kind = 'learned.type'"), 0, "learned.type 'review' is"),
    (sql("update note set value = x'c4' where kind = 'learned.agent'"), 0, "learned.agent 'a1' is damaged"),
    (sql("update note set value = x'9100' where kind = 'learned'"), 0, "does not say when it was written"),
    (sql("update note set key = 'review' where kind = 'learned'"), 0, "is not of a type and an agent"),
    (sql("update note set value = x'01' where kind = 'pause'"), 0, "note pause 'review' is more than"),
    (sql("update note set value = x'312032' where kind = 'grade'"), 0, "has 2 right of 1"),
    (sql("update note set value = x'ff' where kind = 'grade'"), 0, "the note grade 'review a1' is damaged"),
    (sql("update note set key = 'x' where kind = 'graded'"), 0, "the note graded 'x' is damaged"),
    (sql("update note set value = x'37' where kind = 'graded'"), 0, "is no grade of a task"),
    (sql("insert into note values (7, 'colour', 'sea', x'00')"), 0, "notes without their namespace"),
    (sql("update task set state = 3 where task_id = ?", QUEUED), QUEUED, "state says 3, its bytes say 2"),
    (sql("update task set end_ms = 5 where task_id = ?", QUEUED), QUEUED, "column end_ms says 5"),
    (sql("update task set priority = 1 where task_id = ?", RUNNING), RUNNING, "column priority says 1"),
    (sql("update task set type = 'x' where task_id = ?", RUNNING), RUNNING, "column type says 'x'"),
    (sql("update task set create_ms = 90 where task_id = ?", QUEUED), QUEUED, "column create_ms says 90"),
    (sql("update task set parent_id = 7 where task_id = ?", RUNNING), RUNNING, "column parent_id says 7"),
    (sql("update task set request_id = 'x' where task_id = ?", RUNNING), RUNNING, "request_id says 'x'"),
    (record(RUNNING, put(task_id=7)), RUNNING, "column task_id says"),
    (record(QUEUED, put(fingerprint=b"else")), QUEUED, "its fingerprint is not that of its spec"),
    (sql("update label set value = 'blue' where value = 'red'"), QUEUED, "its labels are indexed as"),
    (sql("delete from label where key = 'size'"), QUEUED, "its labels are indexed as"),
    (sql("insert into label values (1, 'k', 'v', ?)", RUNNING), RUNNING, "its labels are indexed as {'k'"),
    (sql("update task set request_id = 'r1' where task_id = ?", RUNNING), RUNNING, "that of task 0000010"),
    (sql("update namespace set epoch = 0"), QUEUED, "its epoch is 1, its namespace is at 0"),
    (copy_task(RUNNING, 2 << 40 | 1), 2 << 40 | 1, "its epoch is 2, its namespace is at 1"),
    (copy_task(UNSAFE, 1 << 40), 1 << 40, "its id has no sequence"),
    (copy_task(QUEUED, NEXT), NEXT, "created at 100, a task with a lower id later, at 120"),
    (copy_task(UNSAFE, NEXT), NEXT, "its revision 2 is that of task 0000010000000004 too"),
    (copy_task(QUEUED, NEXT), NEXT, "task 0000010000000001 is unfinished too and has the same dedup_key"),
    (sql("update namespace set clock_ms = 125"), COMPLETED, "something happened to it at 130"),
    (sql("update namespace set revision = 3"), RUNNING, "its revision is 4, its namespace is at 3"),
    (record(RUNNING, put(revision=0)), RUNNING, "its revision is 0"),
    (record(COMPLETED, put(output=None)), COMPLETED, "is COMPLETED without an output"),
    (sql("drop index task_end"), 0, "the index task_end is missing"),
    (sql("drop table copy"), 0, "the table copy is missing"),
    (sql("drop table label"), 0, "the schema is not whole"),
    (sql("create index more on task (type)"), 0, "the index more is not that of this release"),
    (sql("alter table spec add column extra text"), 0, "the table spec is not that of this release"),
]  # fmt: skip


def test_a_sound_store_has_no_violation_and_is_counted(path: Path) -> None:
    check = Check(path)
    assert list(check.violations()) == []
    counted = msgspec.to_builtins(check.contents)
    assert counted.pop("bytes") == path.stat().st_size
    assert counted == {"namespaces": 1, "tasks": 4, "finished": 1, "notes": 11}


async def collaborate(path: Path) -> int:
    """A collaboration of which one step is done and another runs; answers the id of the first."""
    inner = Collaboration(Sequential((TaskSpec("echo"), TaskSpec("nobody"))))
    mode = Parallel((TaskSpec("echo"), TaskSpec("nobody"), TaskSpec("", collaboration=inner)))
    async with running(SqliteStore(path)) as orchestrator:
        await submit(orchestrator, "r1", type="", collaboration=Collaboration(mode))
        worker = await Worker(orchestrator).connect()
        done = await worker.lease()
        await worker.finish(done)
        await worker.lease()
        return task_of(LeaseId(done))


def test_what_was_never_submitted_has_no_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    child = asyncio.run(collaborate(path))
    assert found(path) == []
    connection = apsw.Connection(str(path))
    record(child, put(fingerprint=b"of its spec"))(connection)
    connection.close()
    (violation,) = found(path)
    assert violation.task_id == child
    assert "it is a child and has a fingerprint" in violation.text


@pytest.mark.parametrize(("damage", "task_id", "words"), DAMAGES, ids=[words for _, _, words in DAMAGES])
def test_what_is_damaged_is_told(path: Path, damage: Damage, task_id: int, words: str) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "off")
    damage(connection)
    connection.close()
    violations = found(path)
    assert [each for each in violations if each.task_id == task_id and words in each.text], violations


def test_an_index_that_lost_a_row_is_told(path: Path) -> None:
    connection = apsw.Connection(str(path))
    root = connection.execute("select rootpage from sqlite_schema where name = 'task_type'").get
    size = int(connection.pragma("page_size"))
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size + 3)
        file.write(b"\0\0")  # The number of cells of the page.
    assert [each for each in found(path) if "missing from index task_type" in each.text]


def test_a_page_of_noise_is_told_and_does_not_stop_the_check(path: Path) -> None:
    connection = apsw.Connection(str(path))
    root = connection.execute("select rootpage from sqlite_schema where name = 'task'").get
    size = int(connection.pragma("page_size"))
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xa5" * size)
    violations = found(path)
    assert violations
    assert all("the file is damaged" in each.text for each in violations)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no store"),
        (b"", "is empty"),
        (b"not a database, but long enough" * 9, "not a SQLite"),
    ],
)
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "y.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreInvalid, match=words):
        found(path)
    assert (path.read_bytes() if path.exists() else None) == content


@pytest.mark.parametrize(
    ("pragma", "words"),
    [("application_id = 7", "another"), ("user_version = 99", "upgrade"), ("user_version = 1", "once")],
)  # fmt: skip
def test_a_file_of_another_program_or_release_is_refused(path: Path, pragma: str, words: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(f"pragma {pragma}")
    connection.close()
    with pytest.raises(StoreInvalid, match=words):
        found(path)


async def test_a_store_that_is_open_is_checked_and_not_changed(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.adopt("default")
    before = path.read_bytes()
    assert found(path) == []
    assert path.read_bytes() == before
    await store.close()
