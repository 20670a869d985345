"""CollaborationService: items that are none, and tasks that take none."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import (
    APPEND,
    CLOSE,
    GRADE,
    NOBODY,
    Case,
    Code,
    case,
    collaborations_pb,
    invalid,
)
from tests.server.rpc.bad_input.queries import BAD_IDS
from tests.server.rpc.bad_input.wire_bytes import field

ITEM = {"data": b"x"}
REQUESTS: dict[str, Any] = {
    APPEND: lambda **fields: collaborations_pb.AppendItemsRequest(items=[ITEM], **fields),
    CLOSE: collaborations_pb.CloseItemsRequest,
    GRADE: lambda **fields: collaborations_pb.GradeTaskRequest(correct=True, **fields),
}


def append(name: str, at: str, /, reason: str = "INVALID_FIELD", **fields: Any) -> Case:
    request = collaborations_pb.AppendItemsRequest(**{"task_id": NOBODY, "items": [ITEM], **fields})
    return invalid(f"append {name}", APPEND, request, at, reason)


CASES = [
    *(
        invalid(f"{method.rpartition('/')[2]}: task_id {what}", method, request(task_id=text), "task_id")
        for method, request in REQUESTS.items()
        for what, text in BAD_IDS.items()
    ),
    *(
        case(
            f"{method.rpartition('/')[2]}: task that is not there",
            method,
            request(task_id=NOBODY),
            Code.NOT_FOUND,
            "TASK_NOT_FOUND",
        )
        for method, request in REQUESTS.items()
    ),
    append("nothing", "items", items=[]),
    append("1,001 items", "items", items=[ITEM] * 1_001),
    append("1 MiB and a byte", "items[1]", "TASK_TOO_LARGE", items=[ITEM, {"data": bytes((1 << 20) + 1)}]),
    append("what is no JSON", "items[0].json", items=[{"json": {}}]),
    append("with a content type of two lines", "items[0].content_type", items=[{"content_type": "a\nb"}]),
    append("before the first", "first_index", first_index=-1),
    append("long before the first", "first_index", first_index=-(2**63)),
    invalid("append 400,000 empty items", APPEND, field(2, NOBODY.encode()) + b"\x1a\x00" * 400_000, "items"),
]
