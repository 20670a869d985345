"""Nested collaborations: what each came to, as one text, and what a store says of parents and children."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
from google.protobuf import json_format

from upbeat.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from upbeat_server.engine.model import FINISHED, TaskState
from upbeat_server.rpc.ids import task_text
from upbeat_server.store.codec import decode_record
from upbeat_server.store.sqlite_schema import open_reader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.facts import Worked
    from upbeat_server.engine.model import TaskRecord

PAGE = 1_000
_TASK_ID = re.compile(r"\b[0-9a-f]{16}\b")
_OF_CHANCE = ("wasted",)
"""What of a result depends on time."""


class Killed(msgspec.Struct, frozen=True):
    """A kill of the server, and what its store held then."""

    at_ns: int
    records: dict[str, TaskRecord]  # By task id.

    @property
    def completed(self) -> frozenset[str]:
        """Tasks that had ended well and must not be worked on again."""
        return frozenset(
            task_id for task_id, record in self.records.items() if record.state == TaskState.COMPLETED
        )


def outcomes(address: str) -> dict[str, str]:
    """What every task came to, by its path: the root's request_id and what each is to its collaboration.

    The text has the state, the output byte for byte, the error and the result of a collaboration, with
    paths in the place of ids.
    """
    tasks = {task.task_id: task for task in _answered(address)}
    paths: dict[str, str] = {}

    def path(task: task_pb2.Task) -> str:
        if task.task_id not in paths:
            parent = tasks.get(task.parent_task_id)
            paths[task.task_id] = task.request_id if parent is None else f"{path(parent)}/{task.member}"
        return paths[task.task_id]

    for task in tasks.values():
        path(task)
    return {paths[task_id]: _outcome(task, paths) for task_id, task in tasks.items()}


def _answered(address: str) -> Iterable[task_pb2.Task]:
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        request = task_service_pb2.ListTasksRequest(page_size=PAGE, view=task_pb2.TASK_VIEW_FULL)
        while True:
            page = stub.ListTasks(request, timeout=60, wait_for_ready=True)
            yield from page.tasks
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def _outcome(task: task_pb2.Task, paths: dict[str, str]) -> str:
    result: dict[str, Any] = json_format.MessageToDict(task.collaboration_result)
    for name in _OF_CHANCE:
        result.pop(name, None)
    # In which order children of equal standing were made is a matter of time, too.
    result["childTaskIds"] = sorted(paths[task_id] for task_id in task.collaboration_result.child_task_ids)
    told = {
        "state": task_pb2.Task.State.Name(task.state),
        "output": task.output.data.decode(),
        "error": json_format.MessageToDict(task.error),
        "result": result,
    }
    return _TASK_ID.sub(lambda match: paths.get(match[0], match[0]), json.dumps(told, sort_keys=True))


def stored(path: Path) -> dict[str, TaskRecord]:
    """Every record by task id in a file that no server has open."""
    connection = open_reader(path)
    try:
        rows = connection.execute("select record from task").fetchall()
    finally:
        connection.close()
    records = [decode_record(record) for (record,) in rows]  # type: ignore[arg-type]
    return {task_text(record.task_id): record for record in records}


def stored_at_kill(path: Path, folder: Path) -> dict[str, TaskRecord]:
    """The same of a server that was killed: of a copy, so that its log is as it left it."""
    folder.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.with_name(name), folder / name)
    return stored(folder / path.name)


def orphans(records: dict[str, TaskRecord]) -> list[str]:
    """Children that outlive their parent, are there twice, or have none."""
    found = []
    members = Counter((record.parent_id, record.member) for record in records.values() if record.parent_id)
    found += [f"{task_text(p)} made {member} {n} times" for (p, member), n in members.items() if n > 1]
    for task_id, record in records.items():
        parent = records.get(task_text(record.parent_id))
        if not record.parent_id:
            continue
        if parent is None:
            found.append(f"{task_id} has a parent that is not there")
        elif parent.state in FINISHED and (record.state not in FINISHED or record.end_ms > parent.end_ms):
            found.append(f"{task_id}, {record.member}, outlives its parent {task_text(record.parent_id)}")
    return found


def repeated(starts: Iterable[Worked], kills: Iterable[Killed]) -> list[str]:
    """Work that was begun again although it had ended well, or although its agent lived."""
    every = list(starts)
    found = [
        f"{start.key} had completed before a kill and was begun after it"
        for killed in kills
        for start in every
        if start.at_ns > killed.at_ns and start.task_id in killed.completed
    ]
    counts = Counter(start.key for start in every)
    return found + [f"{key} was begun {count} times" for key, count in counts.items() if count > 1]
