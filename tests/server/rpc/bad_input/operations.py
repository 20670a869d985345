"""Retries, what is done by filter, and looks at what was."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from tests.server.rpc.bad_input.case import (
    AGENTS,
    NOBODY,
    Case,
    Code,
    agents_pb,
    case,
    invalid,
    operations_pb,
    stats_pb,
)
from tests.server.rpc.bad_input.queries import BAD_FILTERS, BAD_IDS

OPERATIONS = "upbeat.v1.OperationsService/"
RETRY = f"{OPERATIONS}RetryTask"
BULK: dict[str, type[Message]] = {
    f"{OPERATIONS}BulkCancelTasks": operations_pb.BulkCancelTasksRequest,
    f"{OPERATIONS}BulkRetryTasks": operations_pb.BulkRetryTasksRequest,
}
HISTORY = "upbeat.v1.StatsService/GetHistory"
ATTEMPTS = f"{AGENTS}ListAgentAttempts"


def bulk(what: str, field: str, reason: str = "INVALID_FIELD", /, **fields: Any) -> list[Case]:
    """A bad field of both."""
    return [
        invalid(f"{method}: {what}", method, request(**fields), field, reason)
        for method, request in BULK.items()
    ]


CASES = [
    *(
        invalid(f"retry of an id {what}", RETRY, operations_pb.RetryTaskRequest(task_id=text), "task_id")
        for what, text in BAD_IDS.items()
    ),
    case(
        "retry of nobody",
        RETRY,
        operations_pb.RetryTaskRequest(task_id=NOBODY, request_id="x\n"),
        Code.NOT_FOUND,
        "TASK_NOT_FOUND",
    ),
    invalid(
        "retry in a namespace that is none",
        RETRY,
        operations_pb.RetryTaskRequest(namespace="a b"),
        "namespace",
    ),
    *(row for what, text in BAD_FILTERS.items() for row in bulk(what, "filter", filter=text)),
    *bulk("no filter", "filter", dry_run=True),
    *bulk("a filter of spaces", "filter", filter="  "),
    *bulk("COMPLETED ones", "filter", filter="state = COMPLETED"),
    *bulk("-1 of them", "limit", filter="type = a", limit=-1),
    *bulk("somebody's page", "page_token", "INVALID_PAGE_TOKEN", filter="type = a", page_token="AAAA"),
    *bulk("in a namespace that is none", "namespace", namespace="..", filter="type = a"),
    invalid(
        "to cancel FAILED ones",
        f"{OPERATIONS}BulkCancelTasks",
        operations_pb.BulkCancelTasksRequest(filter="state = FAILED"),
        "filter",
    ),
    invalid(
        "to retry QUEUED ones",
        f"{OPERATIONS}BulkRetryTasks",
        operations_pb.BulkRetryTasksRequest(filter="state = QUEUED"),
        "filter",
    ),
    invalid(
        "to cancel with words of 1 KiB and a byte",
        f"{OPERATIONS}BulkCancelTasks",
        operations_pb.BulkCancelTasksRequest(filter="type = a", message="x" * 1_025),
        "message",
    ),
    *(
        invalid(f"history of {what}", HISTORY, stats_pb.GetHistoryRequest(window=window), "window")
        for what, window in {
            "half a second": {"nanos": 500_000_000},
            "more than an hour": {"seconds": 3_601},
            "less than nothing": {"seconds": -1},
            "no duration": {"seconds": 1, "nanos": -1},
        }.items()
    ),
    invalid(
        "history of a namespace that is none",
        HISTORY,
        stats_pb.GetHistoryRequest(namespace="a/b"),
        "namespace",
    ),
    *(
        invalid(f"attempts: {what}", ATTEMPTS, agents_pb.ListAgentAttemptsRequest(**fields), field)
        for what, field, fields in (
            ("of nobody", "agent_id", {}),
            ("of an agent that is none", "agent_id", {"agent_id": "a b"}),
            ("-1 of them", "limit", {"agent_id": "-", "limit": -1}),
            ("since no time", "end_time_from", {"agent_id": "-", "end_time_from": {"nanos": -1}}),
            ("in a namespace that is none", "namespace", {"agent_id": "-", "namespace": "."}),
        )
    ),
]
