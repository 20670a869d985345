from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbeat_server.engine.model import (
    DEFAULT_RETRY,
    NO_PAYLOAD,
    Attempt,
    Budget,
    ChildOutcome,
    Collaboration,
    CollaborationResult,
    Competitive,
    Consensus,
    ContextEntry,
    CustomMode,
    Error,
    GroupRecord,
    ItemError,
    Parallel,
    Payload,
    Pipeline,
    RetryPolicy,
    Sequential,
    StopWhen,
    Tally,
    TaskRecord,
    TaskSpec,
    Usage,
)
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


def nested(payload: Payload, retry: RetryPolicy, fraction: float, budget: Budget | None) -> TaskSpec:
    """A collaboration in which defaults stand everywhere; the arguments are to be defaults, too."""
    step = TaskSpec("step", input=payload, retry=retry, size_hint=fraction, labels={"b": "2", "a": "1"})
    race = Competitive((step, step), hedge_quantile=float("0.95"))
    vote = Consensus(
        TaskSpec("", collaboration=Collaboration(race, cancel_grace_ms=int("5000"))), tolerance=fraction
    )
    stop = StopWhen("/a", bytes(bytearray(b"null")))
    steps = (TaskSpec("", collaboration=Collaboration(vote, budget=budget)), step)
    return TaskSpec("", collaboration=Collaboration(Sequential(steps, stop_when=stop)))


def test_equal_collaborations_have_equal_bytes_whatever_they_are_made_of() -> None:
    spec = nested(NO_PAYLOAD, DEFAULT_RETRY, 0.0, Budget())
    same = nested(Payload(), RetryPolicy(max_backoff_ms=int("60000")), float("-0"), Budget(children_max=0))
    assert spec == same
    assert encode_spec(spec) == encode_spec(same)
    assert decode_spec(encode_spec(same)) == spec
    assert len(encode_spec(spec)) < 300


def test_the_fingerprint_of_a_collaboration_is_the_same_in_every_release() -> None:
    spec = nested(Payload("text/plain", b"x"), RetryPolicy(max_attempts=5), 2.5, Budget(7, 8, 9, 1))
    # A submission repeated across an upgrade is recognised by this; never change it.
    assert fingerprint(encode_spec(spec)).hex() == "c7e8f01783eef007fc812103bbb08c92"


def make_group() -> GroupRecord:
    return GroupRecord(
        memo=b"\0memo",
        items=3,
        completed=2,
        result=CollaborationResult(
            mode="consensus",
            tally=(Tally(b'"a"', 2, 2.0), Tally(b'"b"', 1, 0.5)),
            partial=(
                ChildOutcome(7, 0, 4, output=Payload("", b"x")),
                ChildOutcome(8, 1, 5, error=Error("X")),
            ),
            item_errors=(ItemError(0, 1, 9, Error("Y", details={"k": "v"})),),
        ),
    )


def test_fields_of_a_newer_release_stay_in_what_a_collaboration_came_to() -> None:
    record = make_record()
    record.group = make_group()
    tree = msgspec.to_builtins(record, builtin_types=(bytes,))
    tree["group"]["topic"] = "t"
    result = tree["group"]["result"]
    result["confidence"] = 0.5
    result["tally"][1]["share"] = 0.2
    result["partial"][0]["output"]["compression"] = "zstd"
    result["item_errors"][0]["error"]["origin"] = "disk"
    stored = bytes((NEWER,)) + msgspec.msgpack.encode(tree)
    read = decode_record(stored)
    assert read.group == record.group
    assert tree_of(encode_record(read)) == tree_of(stored)
    assert read.group is not None
    read.group.live = 5
    read.group.result = msgspec.structs.replace(make_group().result, missing=1)  # type: ignore[type-var]
    again: Any = tree_of(encode_record(read))
    assert (again["group"]["topic"], again["group"]["live"]) == ("t", 5)
    assert "confidence" not in again["group"]["result"]


works = st.builds(
    TaskSpec,
    type=texts,
    input=payloads,
    selector=texts,
    name=texts,
    size_hint=st.floats(0, 1e9),
    side_effects=st.integers(1, 3),
    context=st.lists(st.builds(ContextEntry, texts, payloads), max_size=2).map(tuple),
)


def collaborations(steps: st.SearchStrategy[TaskSpec]) -> st.SearchStrategy[TaskSpec]:
    several = st.lists(steps, min_size=1, max_size=2).map(tuple)
    maybe = st.none() | steps
    modes = st.one_of(
        st.builds(
            Sequential,
            several,
            st.integers(1, 3),
            st.integers(1, 3),
            maybe,
            st.none() | st.builds(StopWhen, texts, st.sampled_from([b"null", b'"x"', b"1"])),
        ),
        st.builds(Parallel, several, st.none() | texts, st.integers(1, 4), reducer=maybe),
        st.builds(Pipeline, several, st.lists(payloads, max_size=2).map(tuple), st.booleans()),
        st.builds(Consensus, steps, judge=maybe, choices=st.lists(texts, max_size=2).map(tuple)),
        st.builds(Competitive, several, accept=texts, validator=maybe, hedge_quantile=st.floats(0.5, 0.999)),
        st.builds(CustomMode, texts, payloads, several),
    )
    return st.builds(
        TaskSpec,
        type=st.just(""),
        name=texts,
        collaboration=st.builds(
            Collaboration,
            modes,
            max_concurrency=st.integers(1, 1_000),
            distinct_agents=st.booleans(),
            include_partial=st.booleans(),
            budget=st.none() | st.builds(Budget, whole, whole, whole, whole),
        ),
    )


@given(st.recursive(works, collaborations, max_leaves=6))
def test_any_nested_spec_comes_back_as_it_was(spec: TaskSpec) -> None:
    stored = encode_spec(spec)
    again = decode_spec(stored)
    assert again == spec
    assert encode_spec(again) == stored
