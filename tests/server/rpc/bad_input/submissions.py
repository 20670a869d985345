"""Submissions: what surrounds a spec, alone, in a batch, and as a sample."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import (
    BATCH,
    STREAM,
    SUBMIT,
    Case,
    Code,
    case,
    invalid,
    sample_pb,
    tasks_pb,
)

SAMPLE = "upbeat.v1.SampleService/SubmitSampleTask"
GOOD: dict[str, Any] = {"spec": {"type": "bad.work"}, "request_id": "r1"}


def submit(name: str, field: str, **fields: Any) -> Case:
    request = tasks_pb.SubmitTaskRequest(**{"spec": {"type": "bad.work"}, **fields})
    return invalid(name, SUBMIT, request, field)


def stream(name: str, field: str, *frames: dict[str, Any], reason: str = "INVALID_FIELD") -> Case:
    """Frames that end the stream: no submission of good will is in them."""
    messages = tuple(tasks_pb.StreamTasksRequest(**frame) for frame in frames)
    return case(name, STREAM, messages, Code.INVALID_ARGUMENT, reason, field)


def sample(name: str, field: str, **fields: Any) -> Case:
    return invalid(name, SAMPLE, sample_pb.SubmitSampleTaskRequest(**fields), field)


CASES = [
    submit("request_id with a line break", "request_id", request_id="a\nb"),
    submit("request_id of 129", "request_id", request_id="r" * 129),
    submit("request_id of 10 KB", "request_id", request_id="r" * 10_240),
    submit("request_id that is no ASCII", "request_id", request_id="é"),
    submit("request_id with NUL", "request_id", request_id="a\0"),
    # A batch as a whole; one bad submission in it is no bad batch.
    invalid("empty batch", BATCH, tasks_pb.BatchSubmitTasksRequest(), "requests"),
    invalid("batch of 1,001", BATCH, tasks_pb.BatchSubmitTasksRequest(requests=[GOOD] * 1_001), "requests"),
    # Streams.
    stream(
        "stream that changes its namespace",
        "namespace",
        {"namespace": "default"},
        {"namespace": "other", "requests": [GOOD]},
        reason="NAMESPACE_MISMATCH",
    ),
    stream("frame of 1,001 submissions", "requests", {"requests": [GOOD] * 1_001}),
    stream("10,001 attachments", "attach", {"attach": [f"r{n}" for n in range(10_001)]}),
    stream("20,001 acknowledged", "finished_acks", {"finished_acks": ["r" * 64] * 20_001}),
    # Samples.
    sample("sample of 1 KiB and a byte", "message", message="x" * 1_025),
    sample("sample of 512 and one wide characters", "message", message="é" * 513),
    sample("sample with priority -1", "priority", priority=-1),
    sample("sample with priority 2^31-1", "priority", priority=2**31 - 1),
]
