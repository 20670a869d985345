"""Namespaces that are none, on every call that names one."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import (
    AGENTS,
    APPEND,
    BATCH,
    CANCEL,
    CLOSE,
    CONNECT,
    EXPLAIN,
    GET,
    GRADE,
    LIST,
    STREAM,
    SUBMIT,
    WATCH,
    Case,
    agents_pb,
    collaborations_pb,
    hello,
    invalid,
    sample_pb,
    stats_pb,
    tasks_pb,
)

BAD = {
    "that climbs": "../x",
    "with a line break": "a\nb",
    "of 64": "n" * 64,
    "for all": "*",
    "of SQL": "a';--",
    "turned around": "a\u202eb",
}
REQUESTS: dict[str, Any] = {
    SUBMIT: tasks_pb.SubmitTaskRequest,
    BATCH: tasks_pb.BatchSubmitTasksRequest,
    STREAM: tasks_pb.StreamTasksRequest,
    GET: tasks_pb.GetTaskRequest,
    LIST: tasks_pb.ListTasksRequest,
    CANCEL: tasks_pb.CancelTaskRequest,
    WATCH: tasks_pb.WatchTasksRequest,
    EXPLAIN: tasks_pb.ExplainTaskRequest,
    CONNECT: lambda namespace: hello(namespace=namespace),
    f"{AGENTS}ListAgents": agents_pb.ListAgentsRequest,
    f"{AGENTS}GetAgent": agents_pb.GetAgentRequest,
    f"{AGENTS}DrainAgent": agents_pb.DrainAgentRequest,
    f"{AGENTS}WatchAgents": agents_pb.WatchAgentsRequest,
    f"{AGENTS}PauseType": agents_pb.PauseTypeRequest,
    f"{AGENTS}ResumeType": agents_pb.ResumeTypeRequest,
    APPEND: collaborations_pb.AppendItemsRequest,
    CLOSE: collaborations_pb.CloseItemsRequest,
    GRADE: collaborations_pb.GradeTaskRequest,
    "upbeat.v1.StatsService/GetStats": stats_pb.GetStatsRequest,
    "upbeat.v1.StatsService/WatchStats": stats_pb.WatchStatsRequest,
    "upbeat.v1.SampleService/SubmitSampleTask": sample_pb.SubmitSampleTaskRequest,
}

CASES: list[Case] = [
    invalid(f"{method.rpartition('/')[2]}: namespace {what}", method, request(namespace=text), "namespace")
    for number, (method, request) in enumerate(REQUESTS.items())
    for place, (what, text) in enumerate(BAD.items())
    if place % 3 == number % 3 or method == SUBMIT  # Two of them each; the check is one and the same.
]
