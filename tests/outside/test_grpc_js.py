"""Agents and callers in JavaScript live on the contract alone: `dialogues` says what they say."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.rpc import status_pb2

from tests.outside.conftest import ROOT
from tests.support.server_process import ServerProcess

ACCEPTED, STALE, UNKNOWN = "OUTCOME_ACCEPTED", "OUTCOME_STALE", "OUTCOME_UNKNOWN"
COMPLETED, FAILED, CANCELLED = "STATE_COMPLETED", "STATE_FAILED", "STATE_CANCELLED"
WINDOW = 4


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose streams of submissions have a small window."""
    folder = tmp_path_factory.mktemp("dialogues")
    settings = {"runtime.streams.window": WINDOW}
    with ServerProcess(f"sqlite:{folder}/upbeat.db", folder, settings=settings) as process:
        yield process


@pytest.fixture(scope="module")
def seen(grpc_js: Path, small: ServerProcess) -> dict[str, Any]:
    """What each dialogue saw."""
    result = subprocess.run(
        ["node", str(ROOT / "tests/outside/dialogues/run.mjs")],
        env={
            **os.environ,
            "NODE_PREFIX": str(grpc_js),
            "PROTOS": str(ROOT / "protos"),
            "GOOGLE_PROTOS": str(Path(status_pb2.__file__).parents[2]),
            "SERVER": small.address,
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


def test_every_dialogue_came_to_its_end(seen: dict[str, Any]) -> None:
    assert {name: facts["broke"] for name, facts in seen.items() if "broke" in facts} == {}
    assert len(seen) == 11


def test_an_agent_is_welcomed_works_says_so_and_leaves(seen: dict[str, Any]) -> None:
    work = seen["work"]
    welcome = work["welcome"]
    assert welcome["session_id"] == 16
    assert not welcome["resumed"]
    assert welcome["heartbeat_interval"] == {"seconds": "10", "nanos": 0}
    assert welcome["disconnect_grace"]["seconds"] == "5"
    assert welcome["lease_timeout"]["seconds"] == "30"
    assert (welcome["output_bytes_max"], welcome["frame_bytes_max"]) == (1 << 20, 4 << 20)
    assignment = work["assignment"]
    assert assignment["task_id"]
    assert (assignment["type"], assignment["input"], assignment["attempt"]) == ("js.work", "js.work", 1)
    assert (assignment["labels"], assignment["traceparent"]) == ({"team": "a"}, "00-1-2-01")
    assert assignment["idempotency_key"]
    assert assignment["time_remaining"]["seconds"] == "300"
    assert work["progress"] == {"fraction": 0.5, "message": "half", "chunk": "piece", "sequence": "1"}
    assert (work["outcome"], work["state"], work["output"]) == (ACCEPTED, COMPLETED, "JS.WORK")
    assert work["end"] == "OK"


def test_a_heartbeat_takes_and_gives_slots_and_an_error_comes_through_whole(seen: dict[str, Any]) -> None:
    beat = seen["heartbeat"]
    assert (beat["unknown"], beat["before"], beat["outcome"]) == (UNKNOWN, "STATE_QUEUED", ACCEPTED)
    assert beat["state"] == FAILED
    assert (beat["error"]["reason"], beat["error"]["details"]) == ("NOT_TODAY", {"day": "1"})
    assert beat["usage"]["input_tokens"] == "3"


def test_a_refused_assignment_goes_elsewhere_and_a_bad_item_ends_nothing(seen: dict[str, Any]) -> None:
    assert seen["refuse"] == {
        "reason": "INVALID_FIELD",
        "fields": ["progress[0].lease_id"],
        "attempt": 2,
        "attempts": 2,
        "state": COMPLETED,
    }


def test_a_cancel_reaches_the_agent_and_its_answer_frees_the_slot(seen: dict[str, Any]) -> None:
    cancel = seen["cancel"]
    assert (cancel["isSame"], cancel["reason"]) == (True, "CANCELLED")
    assert (cancel["outcome"], cancel["state"]) == (STALE, CANCELLED)
    assert (cancel["finished"]["code"], cancel["finished"]["reason"]) == (
        "FAILED_PRECONDITION",
        "TASK_FINISHED",
    )
    assert cancel["finished"]["metadata"]["state"] == "COMPLETED"


def test_a_broken_stream_is_resumed_with_what_is_held_and_nothing_is_lost(seen: dict[str, Any]) -> None:
    assert seen["reconnect"] == {
        "isResumed": True,
        "dropped": [0, 2],  # The one that was accepted already, and the one that never was.
        "outcomes": [ACCEPTED, ACCEPTED, UNKNOWN, ACCEPTED],
        "attempts": [1, 1, 2],
        "outputs": ["1", "2", "3"],
    }


def test_who_was_taken_over_is_told_and_refused(seen: dict[str, Any]) -> None:
    for end in seen["fenced"].values():
        assert (end["code"], end["reason"], end["domain"]) == ("ABORTED", "FENCED", "upbeat")


def test_a_drained_agent_finishes_and_gets_nothing_new(seen: dict[str, Any]) -> None:
    assert seen["drained"] == {
        "reason": "AGENT_DRAINED",
        "outcome": ACCEPTED,
        "end": "OK",
        "waiting": "STATE_QUEUED",
        "first": COMPLETED,
        "agent": "STATE_DISCONNECTED",
    }


def test_a_bad_beginning_ends_the_stream_with_its_reason(seen: dict[str, Any]) -> None:
    hellos = seen["badHellos"]
    assert (hellos["none"]["code"], hellos["none"]["reason"]) == ("FAILED_PRECONDITION", "HELLO_REQUIRED")
    assert (hellos["twice"]["code"], hellos["twice"]["reason"]) == ("INVALID_ARGUMENT", "HELLO_REPEATED")
    assert hellos["bad"]["fields"] == [
        "hello.agent_id",
        "hello.capabilities",
        "hello.slots",
        "hello.held_leases[0]",
    ]


def test_statuses_are_read_with_their_details(seen: dict[str, Any]) -> None:
    errors = seen["errors"]
    assert {error["domain"] for error in errors.values()} == {"upbeat"}
    fields = errors["fields"]
    assert (fields["code"], fields["reason"]) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert fields["fields"] == ["spec.type", "spec.priority", "spec.size_hint"]
    assert (errors["unknown"]["code"], errors["unknown"]["reason"]) == ("NOT_FOUND", "TASK_NOT_FOUND")
    assert errors["unknown"]["metadata"]["task_id"] == "0" * 15 + "1"
    assert (errors["reused"]["code"], errors["reused"]["reason"]) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert errors["selector"]["reason"] == "INVALID_SELECTOR"


def test_a_stream_of_submissions_keeps_its_window_and_its_ends_are_heard_elsewhere(
    seen: dict[str, Any],
) -> None:
    stream = seen["stream"]
    assert stream["window"] == WINDOW
    assert stream["refused"] == {"none": "INVALID_FIELD", "bad": ["spec.type"], "never": "TASK_NOT_FOUND"}
    assert stream["beyond"] == {"reason": "WINDOW_EXCEEDED", "retries": True}
    assert stream["onFirst"] == {"s1": "S1", "s2": "S2", "s3": "S3", "s4": "S4"}
    assert stream["onSecond"] == {"s1": "S1", "s5": "S5"}
    assert stream["isSame"]
    assert stream["end"] == "OK"


def test_a_subscriber_gets_again_what_it_did_not_acknowledge(seen: dict[str, Any]) -> None:
    bus = seen["bus"]
    assert bus["subscribed"] == {"subscriber": "js", "isRefused": False}
    assert bus["published"] == {"isDurable": True, "isSame": True}
    assert [heard["text"] for heard in bus["heard"]] == ["one", "two"]
    assert bus["heard"][0] == {
        "text": "one",
        "redelivered": False,
        "publisher": "js-caller",
        "headers": {"a": "b"},
    }
    assert bus["again"] == {"text": "two", "redelivered": True, "attempt": 2}
    assert bus["end"] == "OK"
    assert bus["nobody"] == {"code": "NOT_FOUND", "reason": "SUBSCRIBER_NOT_FOUND"}
