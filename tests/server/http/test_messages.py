"""Protobuf JSON to messages and back: what is taken, what is refused by name, what is shown."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format

from upbeat.v1 import (
    agent_service_pb2,
    collaboration_service_pb2,
    payload_pb2,
    stats_pb2,
    task_pb2,
    task_service_pb2,
)
from upbeat_server.http.message_reader import reader_of
from upbeat_server.http.message_writer import PORTION, encode_json, writer_of
from upbeat_server.http.query import merge, query_pairs, tree_of_pairs
from upbeat_server.rpc.faults import Faults
from upbeat_server.runtime.refused import Refused

SUBMIT: Any = task_service_pb2.SubmitTaskRequest
LIST_AGENTS: Any = agent_service_pb2.ListAgentsRequest
GET: Any = task_service_pb2.GetTaskRequest


def read(kind: Any, tree: Any) -> Any:
    """The message of a JSON tree. Raises Refused."""
    message, faults = kind(), Faults()
    reader_of(kind.DESCRIPTOR, {}).fill(message, tree, "", faults)
    faults.raise_any()
    return message


def query(kind: Any, text: str, body: dict[str, Any] | None = None) -> Any:
    """The message of a query and perhaps a body. Raises Refused."""
    message, faults = kind(), Faults()
    reader = reader_of(kind.DESCRIPTOR, {})
    tree = merge(reader, body or {}, tree_of_pairs(reader, query_pairs(text), faults), faults)
    reader.fill(message, tree, "", faults)
    faults.raise_any()
    return message


def shown(message: Any) -> Any:
    """A message as JSON shows it."""
    return json.loads(encode_json(writer_of(message.DESCRIPTOR, {}).tree(message)))


TREE = {
    "requestId": "r1",
    "spec": {
        "type": "echo",
        "input": {"contentType": "text/plain", "data": "aGk="},
        "priority": "PRIORITY_HIGH",
        "requiredCapabilities": ["a", "b"],
        "labels": {"team": "x", "ü": "y"},
        "sizeHint": 1.5,
        "totalTimeout": "90.500s",
        "retry": {"maxAttempts": 2},
        "notBeforeTime": "2026-01-31T12:00:00.250Z",
        "collaboration": {"sequential": {"steps": [{"type": "a"}, {"type": "b"}]}},
    },
}


def test_a_message_is_read_as_the_reference_reads_it() -> None:
    assert read(SUBMIT, TREE) == json_format.ParseDict(TREE, SUBMIT())


def test_a_message_is_shown_as_the_reference_shows_it() -> None:
    message = read(SUBMIT, TREE)
    assert shown(message) == json_format.MessageToDict(message) == TREE


def test_names_of_the_contract_and_short_enums_are_read_too() -> None:
    message = read(SUBMIT, {"request_id": "r", "spec": {"priority": "HIGH", "side_effects": "UNSAFE"}})
    assert message.request_id == "r"
    assert shown(message.spec) == {"priority": "PRIORITY_HIGH", "sideEffects": "SIDE_EFFECTS_UNSAFE"}


def test_json_of_a_payload_becomes_its_bytes_with_integers_exact() -> None:
    spec = read(SUBMIT, {"spec": {"input": {"json": {"n": 12345678901234567890, "a": [1, None]}}}}).spec
    assert spec.input.data == b'{"a":[1,null],"n":12345678901234567890}'
    assert spec.input.content_type == "application/json"
    assert read(payload_pb2.Payload, {"json": None}).data == b"null"


@pytest.mark.parametrize(
    ("kind", "tree", "field", "words"),
    [
        (SUBMIT, [], "body", "must be an object, not a list"),
        (SUBMIT, {"spec": 5}, "spec", "must be an object, not a number"),
        (SUBMIT, {"spec": {"typ": "x"}}, "spec.typ", "do you mean 'type'"),
        (SUBMIT, {"zzzz": 1}, "zzzz", "is no field of SubmitTaskRequest"),
        (SUBMIT, {"requestId": None}, "request_id", "must not be null"),
        (SUBMIT, {"requestId": 5}, "request_id", "must be a string, not a number"),
        (SUBMIT, {"requestId": "\ud800"}, "request_id", "surrogate"),
        (SUBMIT, {"requestId": "a", "request_id": "a"}, "request_id", "cannot stand beside"),
        (SUBMIT, {"spec": {"priority": "HIGHER"}}, "spec.priority", "one of LOW, NORMAL, HIGH, CRITICAL"),
        (SUBMIT, {"spec": {"priority": 3}}, "spec.priority", "must be one of"),
        (SUBMIT, {"spec": {"retry": {"maxAttempts": 1.5}}}, "spec.retry.max_attempts", "whole number"),
        (SUBMIT, {"spec": {"retry": {"maxAttempts": True}}}, "spec.retry.max_attempts", "a boolean"),
        (SUBMIT, {"spec": {"retry": {"maxAttempts": 1 << 31}}}, "spec.retry.max_attempts", "2,147,483,647"),
        (SUBMIT, {"spec": {"sizeHint": "1"}}, "spec.size_hint", "must be a number, not a string"),
        (SUBMIT, {"spec": {"sizeHint": 10**400}}, "spec.size_hint", "double"),
        (SUBMIT, {"spec": {"totalTimeout": "1 s"}}, "spec.total_timeout", "duration"),
        (SUBMIT, {"spec": {"totalTimeout": 5}}, "spec.total_timeout", "duration"),
        (SUBMIT, {"spec": {"notBeforeTime": "2026-06-31T00:00:00Z"}}, "spec.not_before_time", "a time"),
        (SUBMIT, {"spec": {"labels": []}}, "spec.labels", "must be an object"),
        (SUBMIT, {"spec": {"labels": {"a": 1}}}, "spec.labels['a']", "must be a string"),
        (SUBMIT, {"spec": {"requiredCapabilities": "a"}}, "spec.required_capabilities", "must be a list"),
        (SUBMIT, {"spec": {"requiredCapabilities": [1]}}, "spec.required_capabilities[0]", "a string"),
        (SUBMIT, {"spec": {"limits": [{"key": 1}]}}, "spec.limits[0].key", "must be a string"),
        (SUBMIT, {"spec": {"input": {"data": "?"}}}, "spec.input.data", "base64"),
        (SUBMIT, {"spec": {"input": {"data": "aa", "json": 1}}}, "spec.input.json", "beside 'data'"),
        (
            SUBMIT,
            {"spec": {"input": {"json": 1, "contentType": "text/plain"}}},
            "spec.input.content_type",
            "application/json",
        ),
        (task_service_pb2.WatchTasksRequest, {"revision": "x"}, "revision", "whole number"),
        (task_service_pb2.WatchTasksRequest, {"progress": "true"}, "progress", "true or false"),
        (
            task_service_pb2.BatchSubmitTasksRequest,
            {"requests": [{}, {"spec": {"x": 1}}]},
            "requests[1].spec.x",
            "is no field",
        ),
    ],
)
def test_what_is_wrong_is_named(kind: Any, tree: Any, field: str, words: str) -> None:
    with pytest.raises(Refused) as refusal:
        read(kind, tree)
    found = dict(refusal.value.refusal.violations)
    assert field in found
    assert words in found[field]


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(Refused) as refusal:
        read(SUBMIT, {"a": 1, "b": 2, "spec": {"c": 3, "priority": ""}})
    assert [field for field, _ in refusal.value.refusal.violations] == ["a", "b", "spec.c", "spec.priority"]


def test_a_64_bit_integer_may_be_a_string_or_a_number() -> None:
    kind: Any = collaboration_service_pb2.AppendItemsRequest
    assert read(kind, {"firstIndex": "9007199254740993"}).first_index == 9007199254740993
    assert read(kind, {"firstIndex": 7.0}).first_index == 7
    assert shown(read(kind, {"firstIndex": 0})) == {"firstIndex": "0"}


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (GET, "task_id=7&wait=1.5s&view=FULL", {"taskId": "7", "wait": "1.500s", "view": "TASK_VIEW_FULL"}),
        (GET, "taskId=a%2Fb+c&namespace=", {"taskId": "a/b c"}),
        (LIST_AGENTS, "states=SUSPECT&states=STATE_DRAINING", ["STATE_SUSPECT", "STATE_DRAINING"]),
        (LIST_AGENTS, "page_size=25", {"pageSize": 25}),
        (SUBMIT, "spec.type=echo&spec.retry.max_attempts=2", {"type": "echo", "retry": {"maxAttempts": 2}}),
        (task_service_pb2.WatchTasksRequest, "progress=true&revision=5", {"revision": "5", "progress": True}),
    ],
)
def test_a_query_sets_fields(kind: Any, text: str, expected: Any) -> None:
    tree = shown(query(kind, text))
    assert expected in (tree, tree.get("states"), tree.get("spec"))


@pytest.mark.parametrize(
    ("kind", "text", "field", "words"),
    [
        (GET, "tsk_id=7", "tsk_id", "do you mean 'task_id'"),
        (GET, "task.id=7", "task.id", "is no field"),
        (GET, "view=FULL&view=BASIC", "view", "twice"),
        (GET, "wait=", "wait", "duration"),
        (LIST_AGENTS, "page_size=many", "page_size", "whole number"),
        (task_service_pb2.WatchTasksRequest, "progress=yes", "progress", "true or false"),
        (SUBMIT, "spec={}", "spec", "in a body"),
        (SUBMIT, "spec.labels=x", "spec.labels", "in a body"),
        (SUBMIT, "spec.limits.key=x", "spec.limits.key", "is no field"),
        (SUBMIT, "namespace=%FF", "query", "UTF-8"),
        (SUBMIT, "&".join(["namespace=x"] * 1_001), "query", "1,000"),
    ],
)
def test_a_query_that_sets_none_is_refused(kind: Any, text: str, field: str, words: str) -> None:
    with pytest.raises(Refused) as refusal:
        query(kind, text)
    found = dict(refusal.value.refusal.violations)
    assert field in found
    assert words in found[field]


def test_what_stands_in_body_and_query_must_be_the_same() -> None:
    body = {"namespace": "a", "spec": {"type": "echo"}}
    assert query(SUBMIT, "namespace=a&spec.selector=true", body).spec.selector == "true"
    with pytest.raises(Refused, match="not the same"):
        query(SUBMIT, "namespace=b", body)
    with pytest.raises(Refused, match="not the same"):
        query(SUBMIT, "spec.type=b", body)
    with pytest.raises(Refused, match="not the same"):
        query(SUBMIT, "spec.type=b", {"spec": 5})


@pytest.mark.parametrize(
    ("content_type", "data", "tree"),
    [
        ("application/json", b'{ "n": 12345678901234567890 }', {"json": {"n": 12345678901234567890}}),
        ("application/problem+json; charset=utf-8", b"[]", {"json": []}),
        ("application/json", b"{nonsense", {"data": base64.b64encode(b"{nonsense").decode()}),
        ("application/json", b"\xff", {"data": "/w=="}),
        ("application/json", b"[" * 100_000, {"data": base64.b64encode(b"[" * 100_000).decode()}),
        ("text/plain", b"1", {"data": "MQ=="}),
        ("", b"", {}),
    ],
)
def test_a_payload_shows_json_where_it_is_json(content_type: str, data: bytes, tree: dict[str, Any]) -> None:
    found = shown(payload_pb2.Payload(content_type=content_type, data=data))
    assert found == ({"contentType": content_type} if content_type else {}) | tree


def test_maps_and_numbers_without_an_end_are_shown_as_the_standard_says() -> None:
    stats: Any = stats_pb2.Stats(tasks_by_state={"QUEUED": 3}, slots=1)
    stats.queue_by_priority["HIGH"].depth = 2
    stats.submitted.per_second_1s = float("inf")
    assert shown(stats) == {
        "tasksByState": {"QUEUED": "3"},
        "queueByPriority": {"HIGH": {"depth": "2"}},
        "slots": shown(stats)["slots"],
        "submitted": {"perSecond1s": "Infinity"},
    }


def test_an_enum_of_a_newer_server_is_shown_as_its_number() -> None:
    assert shown(task_pb2.Task(state=77)) == {"state": 77}  # type: ignore[arg-type]


async def test_a_long_list_is_written_whole() -> None:
    response: Any = task_service_pb2.ListTasksResponse(next_page_token="n")
    for number in range(3 * PORTION + 1):
        response.tasks.add(task_id=str(number))
    tree = json.loads(await writer_of(response.DESCRIPTOR, {}).write(response))
    assert [task["taskId"] for task in tree["tasks"]] == [str(number) for number in range(3 * PORTION + 1)]
    assert tree["nextPageToken"] == "n"
