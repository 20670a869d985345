"""A small store with tasks as the engine writes them, for tests that damage or copy it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.bus.message import Message
from upbeat_server.engine.bus.notes import (
    DeadLetter,
    SubscriptionNote,
    dead_letter_note,
    encode,
    message_note,
)
from upbeat_server.engine.learned import AgentNote, CellNote, TypeNote
from upbeat_server.engine.model import (
    Attempt,
    AttemptOutcome,
    Payload,
    SideEffects,
    TaskRecord,
    TaskSpec,
    TaskState,
)
from upbeat_server.store.codec import encode_record, encode_spec, fingerprint
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.store import NamespaceBatch, TaskRow

if TYPE_CHECKING:
    from pathlib import Path

CLOCK_MS = 1_000
QUEUED, RUNNING, COMPLETED, UNSAFE = (1 << 40 | number for number in range(1, 5))
LABELS = {"team": "red", "size": "small"}


def row_of(record: TaskRecord, spec: TaskSpec) -> TaskRow:
    """A task as the runtime hands it to the store."""
    spec_bytes = encode_spec(spec)
    record.fingerprint = fingerprint(spec_bytes)
    return TaskRow(
        record.task_id, record.state, spec.type, spec.priority, record.create_ms, record.end_ms,
        record.parent_id, encode_record(record), spec_bytes, record.request_id, spec.labels,
    )  # fmt: skip


def rows() -> list[TaskRow]:
    """A task that waits, one that runs, one that is done, and one that nobody may do twice."""
    queued = TaskRecord(QUEUED, TaskState.QUEUED, 100, "r1", queued_since_ms=100, revision=1)
    running = TaskRecord(RUNNING, TaskState.RUNNING, 110, "r2", start_ms=120, attempt=1, revision=4)
    running.attempts = [Attempt(1, "a1", 120)]
    running.attempt_deadline_ms = 300_120
    done = TaskRecord(
        COMPLETED, TaskState.COMPLETED, 110, "r3", start_ms=120, end_ms=130, attempt=1, revision=3
    )
    done.attempts = [Attempt(1, "a1", 120, 130, AttemptOutcome.COMPLETED)]
    done.accepted_attempt, done.output = 1, Payload("text/plain", b"done")
    unsafe = TaskRecord(UNSAFE, TaskState.QUEUED, 120, queued_since_ms=120, revision=2)
    return [
        row_of(queued, TaskSpec("review", labels=LABELS, dedup_key="only")),
        row_of(running, TaskSpec("review", priority=3)),
        row_of(done, TaskSpec("review", labels={"team": "blue"})),
        row_of(unsafe, TaskSpec("pay", side_effects=SideEffects.UNSAFE)),
    ]


def other_notes() -> list[tuple[str, str, bytes | None]]:
    """A paused type, what was learned of one agent, and a grade of it."""
    packed = msgspec.msgpack.encode
    cell = CellNote(CLOCK_MS, 2, 2)
    return [
        ("pause", "review", b""),
        ("learned", "review a1", packed(cell)),
        ("learned.type", "review", packed(TypeNote(CLOCK_MS, cell, cell))),
        ("learned.agent", "a1", packed(AgentNote(CLOCK_MS, "one"))),
        ("grade", "review a1", b"1 1"),
        ("graded", f"{COMPLETED:016x}", b"1"),
    ]


def bus_notes() -> list[tuple[str, str, bytes | None]]:
    """A name that has acknowledged the second of two messages, and a dead letter."""
    message = Message("bob", "m1", 120, payload=Payload("text/plain", b"hello"))
    letter = DeadLetter("news", "alice", 3, message, 10, "ATTEMPTS_EXHAUSTED", 130)
    return [
        ("bus.message", message_note("news", 1), encode(message)),
        ("bus.message", message_note("news", 2), encode(Message("bob", "m2", 120).without_body())),
        ("bus.subscription", "news alice", encode(SubscriptionNote(1 << 40 | 9, 1, 0, "alice", [2]))),
        ("bus.dead_letter", dead_letter_note(1 << 40 | 10), encode(letter)),
    ]


async def write_store(path: Path, namespace: str = "default") -> None:
    """Make the store and close it."""
    store = SqliteStore(path)
    await store.open()
    await store.adopt(namespace)
    notes: list[tuple[str, str, bytes | None]] = [("colour", "sky", b"blue"), *bus_notes(), *other_notes()]
    await store.commit([NamespaceBatch(namespace, 1, CLOCK_MS, 4, rows(), notes)])
    await store.close()
