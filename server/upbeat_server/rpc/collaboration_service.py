"""CollaborationService: feeds collaborations that run, and grades what agents did."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from upbeat.v1 import collaboration_service_pb2 as pb
from upbeat_server.rpc.faults import Faults
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.ids import read_task_id
from upbeat_server.rpc.values import read_content

if TYPE_CHECKING:
    from upbeat_server.rpc.method import Call
    from upbeat_server.runtime.orchestrator import Orchestrator

ITEMS_MAX = 1_000
"""Appended with one call."""


class CollaborationService:
    """Serves ``upbeat.v1.CollaborationService``."""

    descriptor = pb.DESCRIPTOR.services_by_name["CollaborationService"]
    roles: ClassVar[dict[str, Role | None]] = {
        "append_items": Role.SUBMITTER,
        "close_items": Role.SUBMITTER,
        "grade_task": Role.SUBMITTER,
    }

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._item_bytes_max = orchestrator.bounds.payloads.input_bytes_max

    async def append_items(self, request: pb.AppendItemsRequest, call: Call) -> pb.AppendItemsResponse:
        """Add items to an open pipeline."""
        namespace = call.namespace(request.namespace)
        task_id = read_task_id(request.task_id)
        faults = Faults()
        first_index = request.first_index if request.HasField("first_index") else -1
        if request.first_index < 0:
            faults.add("first_index", f"{request.first_index:,} is negative; items count from 0")
        items = []
        if 1 <= len(request.items) <= ITEMS_MAX:
            items = [
                read_content(item, f"items[{number}]", faults, self._item_bytes_max)
                for number, item in enumerate(request.items)
            ]
        else:
            words = f"has {len(request.items):,} entries; 1 to {ITEMS_MAX:,} are allowed: call several times"
            faults.add("items", words)
        faults.raise_any()
        count = await self._orchestrator.append_items(namespace, task_id, items, first_index)
        return pb.AppendItemsResponse(item_count=count)

    async def close_items(self, request: pb.CloseItemsRequest, call: Call) -> pb.CloseItemsResponse:
        """Say that no further items come."""
        namespace = call.namespace(request.namespace)
        count = await self._orchestrator.close_items(namespace, read_task_id(request.task_id))
        return pb.CloseItemsResponse(item_count=count)

    async def grade_task(self, request: pb.GradeTaskRequest, call: Call) -> pb.GradeTaskResponse:
        """Say whether the output of a task was right."""
        namespace = call.namespace(request.namespace)
        task_id = read_task_id(request.task_id)
        standing = await self._orchestrator.grade(namespace, task_id, correct=request.correct)
        return pb.GradeTaskResponse(
            agent_id=standing.agent_id, graded_count=standing.graded, correct_count=standing.correct
        )
