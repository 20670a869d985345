from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbeat_server.engine.model import Attempt, Error, Payload, RetryPolicy, TaskRecord, TaskSpec, Usage
from upbeat_server.store.codec import (
    RECORD_VERSION,
    SPEC_VERSION,
    decode_record,
    decode_spec,
    encode_record,
    encode_spec,
    fingerprint,
)
from upbeat_server.store.store import StoreInvalid

NEWER = RECORD_VERSION + 1


def make_record() -> TaskRecord:
    return TaskRecord(
        task_id=(1 << 40) + 5,
        state=5,
        create_ms=1_700_000_000_000,
        request_id="r",
        attempts=[
            Attempt(1, "a", 10, end_ms=11, outcome=2, error=Error("HANDLER_FAILED", "boom")),
            Attempt(2, "b", 12),
        ],
        output=Payload("text/plain", b"\0out"),
        error=Error("LEASE_LOST", non_retryable=True, details={"k": "v"}),
        usage=Usage(1, 2, 3),
        failed_agents=["a"],
    )


def written_by_newer(record: TaskRecord) -> bytes:
    """The record with a new field on every level, under the version of the newer release."""
    tree = msgspec.to_builtins(record, builtin_types=(bytes,))
    tree["weather"] = "rain"
    for number, attempt in enumerate(tree["attempts"], 1):
        attempt["mood"] = number
    tree["attempts"][0]["error"]["origin"] = "disk"
    tree["output"]["compression"] = "zstd"
    tree["usage"]["gpu_ms"] = 7
    return bytes((NEWER,)) + msgspec.msgpack.encode(tree)


def tree_of(stored: bytes) -> dict[str, object]:
    return msgspec.msgpack.decode(stored[1:], type=dict[str, object])


def test_a_record_comes_back_as_it_was() -> None:
    record = make_record()
    assert decode_record(encode_record(record)) == record


def test_defaults_take_no_room() -> None:
    assert len(encode_record(TaskRecord(1, 2, 3))) < 35
    assert len(encode_spec(TaskSpec("review"))) < 20


def test_a_record_of_a_newer_release_is_read_and_written_back_whole() -> None:
    stored = written_by_newer(make_record())
    record = decode_record(stored)
    assert record.output == Payload("text/plain", b"\0out")
    again = encode_record(record)
    assert again[0] == NEWER
    assert tree_of(again) == tree_of(stored)


def test_fields_of_a_newer_release_stay_with_what_they_describe() -> None:
    record = decode_record(written_by_newer(make_record()))
    record.state = 4
    record.attempts = [record.attempts[1], Attempt(3, "c", 20)]
    record.output = Payload("text/plain", b"another")
    tree = tree_of(encode_record(record))
    assert tree["weather"] == "rain"
    assert tree["state"] == 4
    attempts = tree["attempts"]
    assert isinstance(attempts, list)
    assert [attempt.get("mood") for attempt in attempts] == [2, None]
    assert tree["output"] == {"content_type": "text/plain", "data": b"another"}
    assert tree["usage"] == {"input_tokens": 1, "output_tokens": 2, "cost_micros": 3, "gpu_ms": 7}


def test_fields_of_a_newer_release_survive_many_rewrites() -> None:
    stored = written_by_newer(make_record())
    for revision in range(1, 4):
        record = decode_record(stored)
        record.revision = revision
        stored = encode_record(record)
    assert tree_of(stored)["weather"] == "rain"
    assert tree_of(stored)["revision"] == 3


def test_a_spec_of_a_newer_release_is_read() -> None:
    tree = {"type": "review", "colour": "blue"}
    stored = bytes((SPEC_VERSION + 1,)) + msgspec.msgpack.encode(tree)
    assert decode_spec(stored) == TaskSpec("review")


def test_a_record_of_this_release_keeps_nothing_aside() -> None:
    assert decode_record(encode_record(make_record())).newer == b""


@pytest.mark.parametrize(
    "stored", [b"", b"\x01", b"\x01\xc1", b"\x01\x80", b"\x01\x81\xa4type\x01", b"\x02\x90"]
)
def test_damaged_bytes_are_named(stored: bytes) -> None:
    with pytest.raises(StoreInvalid, match="record is damaged"):
        decode_record(stored)
    with pytest.raises(StoreInvalid, match="spec is damaged"):
        decode_spec(stored)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_decoder_otherwise(stored: bytes) -> None:
    for decode in (decode_record, decode_spec):
        with suppress(StoreInvalid):
            decode(stored)


def test_equal_specs_have_equal_bytes_whatever_they_are_made_of() -> None:
    spec = TaskSpec("review", labels={"a": "1", "b": "2"})
    same = TaskSpec(
        "review",
        input=Payload(),
        fairness_weight=float("1"),
        size_hint=float("-0"),
        labels={"b": "2", "a": "1"},
        attempt_timeout_ms=int("300000"),
        retry=RetryPolicy(max_backoff_ms=int("60000")),
    )
    assert encode_spec(spec) == encode_spec(same)
    assert decode_spec(encode_spec(same)) == spec


def test_a_fingerprint_is_the_same_in_every_release() -> None:
    spec = TaskSpec(
        "review",
        input=Payload("text/plain", b"x"),
        labels={"b": "2", "a": "1"},
        retry=RetryPolicy(max_attempts=5),
    )
    # A submission repeated across an upgrade is recognised by this; never change it.
    assert fingerprint(encode_spec(spec)).hex() == "e95cc1f3bf6edeed691cc4726c4115c8"
    stored = bytes((SPEC_VERSION + 1,)) + encode_spec(spec)[1:]
    assert fingerprint(stored) == fingerprint(encode_spec(spec))


def test_different_specs_have_different_fingerprints() -> None:
    one, other = TaskSpec("review", priority=1), TaskSpec("review", priority=3)
    assert fingerprint(encode_spec(one)) != fingerprint(encode_spec(other))


def test_lone_surrogates_are_replaced_and_nul_is_kept() -> None:
    record = TaskRecord(1, 2, 3, error=Error("X", "a\ud800\0", details={"\udfff": "\ud800"}))
    assert decode_record(encode_record(record)).error == Error("X", "a?\0", details={"?": "?"})
    spec = TaskSpec("a\ud800", labels={"\0": "\udfff"}, required_capabilities=("\ud800",))
    assert decode_spec(encode_spec(spec)) == TaskSpec("a?", labels={"\0": "?"}, required_capabilities=("?",))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
payloads = st.builds(Payload, content_type=texts, data=st.binary(max_size=40))
errors = st.builds(
    Error,
    reason=texts,
    message=texts,
    non_retryable=st.none() | st.booleans(),
    details=st.dictionaries(texts, texts, max_size=3),
)
whole = st.integers(0, (1 << 63) - 1)


@given(
    st.builds(
        TaskRecord,
        task_id=whole,
        state=st.integers(1, 6),
        create_ms=whole,
        fingerprint=st.binary(max_size=16),
        attempts=st.lists(
            st.builds(Attempt, attempt=whole, agent_id=texts, start_ms=whole, error=st.none() | errors),
            max_size=3,
        ),
        output=st.none() | payloads,
        error=st.none() | errors,
        usage=st.builds(Usage, whole, whole, whole),
        failed_agents=st.lists(texts, max_size=3),
    )
)
def test_any_record_comes_back_as_it_was(record: TaskRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(
    st.builds(
        TaskSpec,
        type=texts,
        input=payloads,
        required_capabilities=st.lists(texts, max_size=3).map(tuple),
        labels=st.dictionaries(texts, texts, max_size=3),
        fairness_weight=st.floats(0.001, 1e9),
        retry=st.builds(
            RetryPolicy, max_attempts=whole, non_retryable_reasons=st.lists(texts, max_size=2).map(tuple)
        ),
    )
)
def test_any_spec_comes_back_as_it_was(spec: TaskSpec) -> None:
    assert decode_spec(encode_spec(spec)) == spec
