"""upbeat: submit tasks to fleets of agents, and be an agent.

Callers use `Client` (or `SyncClient`), agents `Agent` and `Context`; both share
a `Skill`, which names a kind of work and its types. Errors are in
`upbeat.errors`; those met most are here too. `upbeat.testing` gives an
in-process server for your tests. The contract's own messages are in `upbeat.v1`.

Names are imported when they are first used: the command line and the server
import `upbeat.v1` without paying for the SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upbeat.agent import Agent
    from upbeat.channel import Tls
    from upbeat.client import Client
    from upbeat.context import Context
    from upbeat.errors import (
        AgentFenced,
        AttemptCancelled,
        ClientClosed,
        CodecError,
        DuplicateTask,
        Fail,
        InvalidField,
        PermissionDenied,
        QueueFull,
        Refused,
        TaskCancelled,
        TaskFailed,
        TaskFinished,
        TaskNotFound,
        TaskTimedOut,
        Unauthenticated,
        Unavailable,
        UpbeatError,
    )
    from upbeat.flow import Done
    from upbeat.handle import TaskHandle
    from upbeat.skill import Skill
    from upbeat.spec import Retry
    from upbeat.sync import SyncClient, SyncTaskHandle
    from upbeat.task import Progress, Task, TaskState
    from upbeat.updates import Left, TaskWatch
    from upbeat.version import __version__

_HOMES = {
    "agent": ("Agent",),
    "channel": ("Tls",),
    "client": ("Client",),
    "context": ("Context",),
    "errors": (
        "AgentFenced",
        "AttemptCancelled",
        "ClientClosed",
        "CodecError",
        "DuplicateTask",
        "Fail",
        "InvalidField",
        "PermissionDenied",
        "QueueFull",
        "Refused",
        "TaskCancelled",
        "TaskFailed",
        "TaskFinished",
        "TaskNotFound",
        "TaskTimedOut",
        "Unauthenticated",
        "Unavailable",
        "UpbeatError",
    ),
    "flow": ("Done",),
    "handle": ("TaskHandle",),
    "skill": ("Skill",),
    "spec": ("Retry",),
    "sync": ("SyncClient", "SyncTaskHandle"),
    "task": ("Progress", "Task", "TaskState"),
    "updates": ("Left", "TaskWatch"),
    "version": ("__version__",),
}
_HOME_BY_NAME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Agent",
    "AgentFenced",
    "AttemptCancelled",
    "Client",
    "ClientClosed",
    "CodecError",
    "Context",
    "Done",
    "DuplicateTask",
    "Fail",
    "InvalidField",
    "Left",
    "PermissionDenied",
    "Progress",
    "QueueFull",
    "Refused",
    "Retry",
    "Skill",
    "SyncClient",
    "SyncTaskHandle",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskFinished",
    "TaskHandle",
    "TaskNotFound",
    "TaskState",
    "TaskTimedOut",
    "TaskWatch",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "UpbeatError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOME_BY_NAME.get(name)
    if home is None:
        raise AttributeError(f"module 'upbeat' has no attribute {name!r}")
    value = getattr(import_module(f"upbeat.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
