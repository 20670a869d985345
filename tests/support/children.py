"""Children of a collaboration on an in-process server, before any collaboration is built to make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upbeat.io_thread import io_thread
from upbeat_server.engine import bus
from upbeat_server.engine.model import TaskId

if TYPE_CHECKING:
    from upbeat import Client, testing

PARENT = TaskId(0xFA)


def engine_of(server: testing.Server, namespace: str = "default") -> Any:
    """The engine of a namespace; look at it only."""
    return server._app.orchestrator._catalog.known(namespace).engine


async def make_children(server: testing.Server, up: Client, kind: str, values: list[Any]) -> list[Any]:
    """A task for each value, all of them children of one parent; no agent may be there to take them yet."""
    handles = [await up.submit(kind, value) for value in values]

    async def adopt() -> None:
        namespace = server._app.orchestrator._catalog.known("default")
        engine = namespace.engine
        engine.commands = []
        bus.open_group(engine, PARENT)
        for handle in handles:
            task_id = TaskId(int(handle.task_id, 16))
            engine.tasks[task_id].record.parent_id = PARENT
            bus.join(engine, PARENT, task_id)
        namespace.commands += engine.commands

    await io_thread().call(adopt())
    return handles
