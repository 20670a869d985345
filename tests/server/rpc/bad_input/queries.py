"""Looking, waiting, cancelling and watching: ids, filters, orders, pages, revisions."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import (
    CANCEL,
    EXPLAIN,
    GET,
    LIST,
    NOBODY,
    WATCH,
    Case,
    Code,
    case,
    invalid,
    stats_pb,
    tasks_pb,
)

WATCH_STATS = "upbeat.v1.StatsService/WatchStats"
BAD_IDS = {
    "empty": "",
    "that climbs": "../etc",
    "of 17 digits": "0" * 16 + "1",
    "in capitals": "00000000000000AB",
    "with a sign": "+000000000000001",
    "with underscores": "0000_0000_0000_1",
    "of wide digits": "\uff10" * 14 + "\uff11\uff12",
    "of zeros": "0" * 16,
    "that no store can hold": "f" * 16,
    "with NUL": "000000000000001\0",
    "turned around": "00000000000000\u202e1",
    "of 10 KB": "1" * 10_240,
}
BAD_FILTERS = {
    "no comparison": "state",
    "no value": "state =",
    "no field": "= QUEUED",
    "two signs": "state = = QUEUED",
    "OR": "state = QUEUED OR state = RUNNING",
    "ends in AND": "state = QUEUED AND",
    "SQL": "state > 1; DROP TABLE tasks",
    "more SQL": "type = a' OR '1'='1",
    "no such field": "owner = me",
    "no such state": "state = SLEEPING",
    "a dunder for a state": "state = __members__",
    "no such priority": "priority = 9",
    "a type that is none": 'type = "a\nb"',
    "a field twice": "type = a AND type = b",
    "a label twice": "labels.a = x AND labels.a = y",
    "no label": "labels. = x",
    "a parent that is none": "parent = root",
    "a parent no store can hold": f"parent = {'f' * 16}",
    "a wrong sign": "type >= a",
    "a time compared with =": "create_time = 2026-01-01T00:00:00Z",
    "a time without zone": 'create_time >= "2026-01-01T00:00:00"',
    "a time that is none": "end_time < tomorrow",
    "a time beyond time": 'end_time < "10000-01-01T00:00:00Z"',
    "an open quote": 'labels.a = "x',
    "a quote that escapes its end": 'labels.a = "x\\"',
    "NUL": "state = \0",
    "an escape": "\x1b[2J = x",
    "turned around": "state \u202e= QUEUED",
    "500 wide characters": "state = QUEUED " + "😀" * 500,
    "700 brackets": "(" * 700,
    "2,049 bytes": "x" * 2_049,
    "1,025 wide characters": "é" * 1_025,
}
BAD_TOKENS = {
    "forged": "AAAA",
    "of zeros": "A" * 40,
    "that is no base64": "!!!!",
    "that is no ASCII": "été",
    "with a line break": "AAAA\nAAAA",
    "of 10 KB": "A" * 10_240,
    "that is only padding": "====",
    "with NUL": "AAA\0",
}
BAD_WAITS: dict[str, dict[str, int]] = {
    "negative": {"seconds": -5},
    "11 minutes": {"seconds": 660},
    "10^9 ns": {"nanos": 1_000_000_000},
    "2^63-1 s": {"seconds": 2**63 - 1},
}
BAD_INTERVALS: dict[str, dict[str, int]] = {
    "0": {},
    "negative": {"seconds": -1},
    "99 ms": {"nanos": 99_000_000},
    "61 s": {"seconds": 61},
    "2^63-1 s": {"seconds": 2**63 - 1},
    "2 * 10^9 ns": {"nanos": 2_000_000_000},
    "mixed signs": {"seconds": 2, "nanos": -1_000_000_000},
}


def ids(method: str, request: Any, field: str = "task_id") -> list[Case]:
    """Texts that are no id: all of them once, some for each call that reads them in the same way."""
    name = method.rpartition("/")[2]
    some = list(BAD_IDS.items())[:: 1 if method == GET else 4]
    return [
        invalid(f"{name}: {field} {what}", method, request(**{field: text}), field) for what, text in some
    ]


def filters(method: str, request: Any) -> list[Case]:
    """Texts that are no filter, likewise."""
    name = method.rpartition("/")[2]
    some = list(BAD_FILTERS.items())[:: 1 if method == LIST else 7]
    return [invalid(f"{name}: filter: {what}", method, request(filter=text), "filter") for what, text in some]


def unknown(method: str, request: Any, field: str = "task_id") -> Case:
    name = method.rpartition("/")[2]
    return case(f"{name}: nobody", method, request(**{field: NOBODY}), Code.NOT_FOUND, "TASK_NOT_FOUND")


CASES = [
    *ids(GET, tasks_pb.GetTaskRequest),
    unknown(GET, tasks_pb.GetTaskRequest),
    *(
        invalid(f"wait: {name}", GET, tasks_pb.GetTaskRequest(task_id=NOBODY, wait=wait), "wait")
        for name, wait in BAD_WAITS.items()
    ),
    # Listing.
    *filters(LIST, tasks_pb.ListTasksRequest),
    *(
        invalid(f"order {text!r}", LIST, tasks_pb.ListTasksRequest(order_by=text), "order_by")
        for text in ("end_time", "create_time desc desc", "create_time; --", "\n\0", "1")
    ),
    invalid("order of 10 KB", LIST, tasks_pb.ListTasksRequest(order_by="😀" * 2_560), "order_by"),
    *(
        invalid(f"page size {size}", LIST, tasks_pb.ListTasksRequest(page_size=size), "page_size")
        for size in (-1, -(2**31))
    ),
    *(
        invalid(
            f"page token {name}",
            LIST,
            tasks_pb.ListTasksRequest(page_token=text),
            "page_token",
            "INVALID_PAGE_TOKEN",
        )
        for name, text in BAD_TOKENS.items()
    ),
    # Cancelling and explaining.
    *ids(CANCEL, tasks_pb.CancelTaskRequest),
    unknown(CANCEL, tasks_pb.CancelTaskRequest),
    invalid(
        "message of 1 KiB and a byte",
        CANCEL,
        tasks_pb.CancelTaskRequest(task_id=NOBODY, message="x" * 1_025),
        "message",
    ),
    *ids(EXPLAIN, tasks_pb.ExplainTaskRequest),
    unknown(EXPLAIN, tasks_pb.ExplainTaskRequest),
    # Watching.
    *ids(WATCH, tasks_pb.WatchTasksRequest),
    *ids(WATCH, tasks_pb.WatchTasksRequest, "parent_task_id"),
    unknown(WATCH, tasks_pb.WatchTasksRequest),
    *filters(WATCH, tasks_pb.WatchTasksRequest),
    invalid("revision -1", WATCH, tasks_pb.WatchTasksRequest(revision=-1), "revision"),
    invalid(
        "revision -2^63", WATCH, tasks_pb.WatchTasksRequest(revision=-(2**63), progress=True), "revision"
    ),
    *(
        case(
            f"revision {revision}",
            WATCH,
            tasks_pb.WatchTasksRequest(revision=revision),
            Code.OUT_OF_RANGE,
            "REVISION_OUT_OF_RANGE",
        )
        for revision in (10**12, 2**63 - 1)
    ),
    *(
        invalid(f"{method.rpartition('/')[2]}: view {view}", method, request(**fields, view=view), "view")
        for view in (-1, 3, 2**31 - 1)
        for method, request, fields in (
            (GET, tasks_pb.GetTaskRequest, {"task_id": NOBODY}),
            (LIST, tasks_pb.ListTasksRequest, {}),
            (WATCH, tasks_pb.WatchTasksRequest, {}),
        )
    ),
    *(
        invalid(f"stats every {name}", WATCH_STATS, stats_pb.WatchStatsRequest(interval=interval), "interval")
        for name, interval in BAD_INTERVALS.items()
    ),
]
