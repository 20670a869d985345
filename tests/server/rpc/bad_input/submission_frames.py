"""Frames of a caller that are partly bad: the stream goes on, what is good in them is accepted."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import FrameCase, tasks_pb
from tests.server.rpc.bad_input.specs import CASES as SPECS

GOOD: dict[str, Any] = {"spec": {"type": "bad.work"}}


def request(name: str, field: str, /, reason: str = "INVALID_FIELD", **fields: Any) -> FrameCase:
    """A frame with one bad submission."""
    submission = {"spec": {"type": "bad.work"}, "request_id": "bad", **fields}
    return FrameCase(name, tasks_pb.StreamTasksRequest(requests=[submission]), reason, field)


def of_spec(row: Any) -> FrameCase:
    """A bad spec of the corpus, as one submission of a frame."""
    submission = tasks_pb.SubmitTaskRequest.FromString(row.frames[0])
    submission.request_id = "bad"
    return FrameCase(row.name, tasks_pb.StreamTasksRequest(requests=[submission]), row.reason, row.field)


def attach(name: str, request_id: str) -> FrameCase:
    """An attachment to what was never submitted."""
    return FrameCase(name, tasks_pb.StreamTasksRequest(attach=[request_id]), "TASK_NOT_FOUND")


CASES = [
    FrameCase("nothing at all", tasks_pb.StreamTasksRequest()),
    request("no request_id", "request_id", request_id=""),
    request("request_id with a line break", "request_id", request_id="a\nb"),
    request("request_id of 10 KB", "request_id", request_id="r" * 10_240),
    request("request_id turned around", "request_id", request_id="\u202e"),
    request("another namespace", "namespace", "NAMESPACE_MISMATCH", namespace="other"),
    request("a namespace that is none", "namespace", "NAMESPACE_MISMATCH", namespace="a\n\x1b[2J"),
    FrameCase(
        "no spec", tasks_pb.StreamTasksRequest(requests=[{"request_id": "bad"}]), "INVALID_FIELD", "spec"
    ),
    FrameCase("namespace said again", tasks_pb.StreamTasksRequest(namespace="default")),
    *(of_spec(row) for row in SPECS[::6]),
    attach("attaching to nothing", ""),
    attach("attaching to nobody's", "nobody's"),
    *(
        FrameCase(
            f"attaching to {what}",
            tasks_pb.StreamTasksRequest(attach=["nobody's", text]),
            "INVALID_FIELD",
            "attach[1]",
        )
        for what, text in {"a line break": "a\nb", "an escape": "\x1b[2J", "10 KB": "r" * 10_240}.items()
    ),
    FrameCase(
        "acknowledging what never was", tasks_pb.StreamTasksRequest(finished_acks=["", "a\nb", "r" * 10_240])
    ),
]
