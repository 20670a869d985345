"""What the door may ask of collaborations that run, and of what their children did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.events import ItemsAppended, ItemsClosed, TaskGraded
from upbeat_server.engine.model import TaskState
from upbeat_server.runtime.calls import GradeCall, ItemsCall
from upbeat_server.runtime.refused import refused, task_not_found
from upbeat_server.runtime.task_calls import TaskCalls

if TYPE_CHECKING:
    from upbeat_server.engine.model import Payload, TaskId
    from upbeat_server.runtime.calls import Standing
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.runtime.snapshot import TaskSnapshot


class CollaborationCalls(TaskCalls):
    """Append items, close them, grade."""

    async def append_items(
        self, name: str, task_id: TaskId, items: list[Payload], first_index: int = -1
    ) -> int:
        """Add items to an open pipeline durably; how many there are then."""
        namespace = self._namespace_of(name, task_id)
        origin = next(self._origins)
        event = ItemsAppended(origin, task_id, items, first_index)
        size = sum(len(item.data) for item in items)
        return await self._ask(namespace, ItemsCall(namespace), origin, event, len(items), size)

    async def close_items(self, name: str, task_id: TaskId) -> int:
        """Say that no further items come; how many there are."""
        namespace = self._namespace_of(name, task_id)
        origin = next(self._origins)
        return await self._ask(namespace, ItemsCall(namespace), origin, ItemsClosed(origin, task_id))

    async def grade(self, name: str, task_id: TaskId, *, correct: bool) -> Standing:
        """Say whether the output of a completed task was right; how its agent stands then."""
        namespace = self._namespace_of(name, task_id)
        snapshot = await self.get(name, task_id)
        agent_id = _author_of(snapshot)
        origin = next(self._origins)
        event = TaskGraded(origin, task_id, agent_id, snapshot.spec.type, correct)
        return await self._ask(namespace, GradeCall(namespace), origin, event)

    def _namespace_of(self, name: str, task_id: TaskId) -> Namespace:
        self.admit_work()
        namespace = self._catalog.known(name)
        if namespace is None:
            raise task_not_found(task_id)
        return namespace


def _author_of(snapshot: TaskSnapshot) -> str:
    """The agent whose output a task ended with. Raises Refused (NOT_GRADABLE)."""
    record = snapshot.record
    text = f"{record.task_id:016x}"
    if snapshot.spec.collaboration is not None:
        raise refused(
            reasons.NOT_GRADABLE,
            f"task {text} is a collaboration, whose output several agents made: grade its children",
            task_id=text,
        )
    if record.state == TaskState.COMPLETED:
        for attempt in reversed(record.attempts):
            if attempt.attempt == record.accepted_attempt:
                return attempt.agent_id
    state = TaskState(record.state).name
    raise refused(
        reasons.NOT_GRADABLE,
        f"task {text} is {state}: only the output of a COMPLETED task can be graded",
        task_id=text,
        state=state,
    )
