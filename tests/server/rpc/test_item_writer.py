"""Items that are written without protobuf are what protobuf would have written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import example, given
from hypothesis import strategies as some

from upbeat.v1 import agent_service_pb2, task_service_pb2
from upbeat_server.engine.events import AttemptProgressed
from upbeat_server.engine.model import ContextEntry, Error, Payload, TaskRecord, TaskSpec, TaskState
from upbeat_server.rpc.ids import LEASE_BITS, TASK_BITS, lease_text, task_text
from upbeat_server.rpc.item_writer import (
    AssignmentWriter,
    varint,
    write_accepted,
    write_answers,
    write_finished,
)
from upbeat_server.rpc.parts import fill_error, fill_payload
from upbeat_server.runtime.outbox import Assignment, ResultAnswer
from upbeat_server.runtime.submissions import Finished

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def made(kind: Callable[..., T], *parts: some.SearchStrategy[Any]) -> some.SearchStrategy[T]:
    return some.tuples(*parts).map(lambda values: kind(*values))


TASK_IDS = some.integers(1, (1 << TASK_BITS) - 1)
LEASE_IDS = some.integers(1, (1 << LEASE_BITS) - 1)
WORDS = some.text(some.characters(exclude_categories=["Cs"]), max_size=200)
CHUNKS = some.binary(max_size=300)
MAPS = some.dictionaries(WORDS, WORDS, max_size=1)  # Of several entries, the order is nobody's business.
PAYLOADS = made(Payload, some.sampled_from(["", "text/plain", "a/" + "b" * 253]), CHUNKS)
ERRORS = made(Error, WORDS, WORDS, some.none() | some.booleans(), MAPS)
LARGE = Payload("", bytes(3 << 20))


def spec_of(name: str, payload: Payload, labels: dict[str, str], context: list[ContextEntry]) -> TaskSpec:
    return TaskSpec(name, payload, labels=labels, context=tuple(context))


SPECS = made(
    spec_of,
    some.sampled_from(["", "echo", "a" * 128]),
    PAYLOADS,
    MAPS,
    some.lists(made(ContextEntry, WORDS, PAYLOADS), max_size=3),
)
PROGRESS = made(AttemptProgressed, LEASE_IDS, some.floats(0, 1), WORDS, CHUNKS, some.integers(0, 1 << 62))
ASSIGNMENTS = made(
    Assignment,
    TASK_IDS,
    LEASE_IDS,
    some.integers(1, 20_000),
    SPECS,
    some.integers(-1, 1 << 40),
    some.none() | PROGRESS,
    some.just(0.0),
    some.just(0) | TASK_IDS,
    WORDS,
    some.just("") | WORDS,
)


def fill_assignment(message: agent_service_pb2.Assignment, item: Assignment, namespace: str) -> None:
    spec = item.spec
    message.task_id, message.lease_id = task_text(item.task_id), lease_text(item.lease_id)
    message.attempt = item.attempt
    message.type = spec.type
    fill_payload(message.input, spec.input)
    message.time_remaining.FromMilliseconds(max(item.time_remaining_ms, 0))
    message.labels.update(spec.labels)
    message.traceparent = item.traceparent
    message.idempotency_key = f"{namespace}/{task_text(item.task_id)}"
    if item.parent_id:
        message.parent_task_id = task_text(item.parent_id)
        message.idempotency_key = f"{namespace}/{task_text(item.parent_id)}/{item.member}"
        for entry in spec.context:
            fill_payload(message.context.add(name=entry.name).payload, entry.payload)
    if item.last_progress is not None:
        last, progress = message.last_progress, item.last_progress
        last.lease_id, last.fraction = lease_text(progress.lease_id), progress.fraction
        last.message, last.chunk, last.sequence = progress.message, progress.chunk, progress.sequence


@given(some.lists(ASSIGNMENTS, max_size=3), some.sampled_from(["default", "n" * 63]))
@example([Assignment(1, 1, 1, TaskSpec("echo", LARGE), 0, None, 0.0)], "default")
@example([Assignment(5, 1, 1, TaskSpec("echo"), 0, None, 0.0, 3, "round/0/voter/1")], "default")
@example([Assignment(5, 1, 1, TaskSpec("echo"), 0, None, 0.0, 3, "\u00e9" * 100)], "default")
def test_assignments(assignments: list[Assignment], namespace: str) -> None:
    expected = agent_service_pb2.ConnectResponse()
    for item in assignments:
        fill_assignment(expected.assignments.add(), item, namespace)
    parts: list[bytes] = []
    AssignmentWriter(namespace).write(assignments, parts)
    assert b"".join(parts) == expected.SerializeToString()


@given(
    some.lists(made(ResultAnswer, LEASE_IDS | WORDS, some.integers(1, 4), some.none() | ERRORS), max_size=3)
)
def test_answers_to_results(answers: list[ResultAnswer]) -> None:
    expected = agent_service_pb2.ConnectResponse()
    for answer in answers:
        lease = answer.lease if isinstance(answer.lease, str) else lease_text(answer.lease)
        ack = expected.result_acks.add(lease_id=lease, outcome=answer.outcome)
        if answer.error is not None:
            fill_error(ack.error, answer.error)
    parts: list[bytes] = []
    write_answers(answers, parts)
    assert b"".join(parts) == expected.SerializeToString()


@given(some.lists(some.tuples(WORDS.filter(bool), TASK_IDS), max_size=3))
def test_acceptances(accepted: list[tuple[str, int]]) -> None:
    expected = task_service_pb2.StreamTasksResponse()
    for request_id, task_id in accepted:
        expected.accepted.add(request_id=request_id, task_id=task_text(task_id))
    parts: list[bytes] = []
    write_accepted(accepted, parts)
    assert b"".join(parts) == expected.SerializeToString()


def record_of(
    task_id: int, state: TaskState, attempt: int, output: Payload | None, error: Error | None
) -> TaskRecord:
    return TaskRecord(task_id, state, 1, attempt=attempt, output=output, error=error)


RECORDS = made(
    record_of,
    TASK_IDS,
    some.sampled_from([TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED]),
    some.integers(0, 20_000),
    some.none() | PAYLOADS,
    some.none() | ERRORS,
)


@given(some.lists(made(Finished, WORDS.filter(bool), RECORDS), max_size=3))
@example([Finished("r", record_of(1, TaskState.COMPLETED, 1, LARGE, None))])
def test_ends(finished: list[Finished]) -> None:
    expected = task_service_pb2.StreamTasksResponse()
    for end in finished:
        record = end.record
        added = expected.finished.add(
            request_id=end.request_id,
            task_id=task_text(record.task_id),
            state=record.state,
            attempt_count=record.attempt,
        )
        if record.state == TaskState.COMPLETED:
            if record.output is not None:
                fill_payload(added.output, record.output)
        elif record.error is not None:
            fill_error(added.error, record.error)
    parts: list[bytes] = []
    write_finished(finished, parts)
    assert b"".join(parts) == expected.SerializeToString()


@given(some.integers(0, (1 << 63) - 1))
@example(127)
@example(128)
@example(1_023)
@example(1_024)
@example(16_384)
def test_numbers(number: int) -> None:
    expected = agent_service_pb2.AttemptProgress(sequence=number).SerializeToString()
    assert (b"\x28" + varint(number) if number else b"") == expected
