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
    from upbeat.collaboration.calls import Grade
    from upbeat.collaboration.consensus import Consensus, Verdict, consensus
    from upbeat.collaboration.custom import Custom, custom
    from upbeat.collaboration.items import PipelineItem
    from upbeat.collaboration.kind import Collaboration
    from upbeat.collaboration.parallel import Parallel, parallel
    from upbeat.collaboration.pipeline import Pipeline, pipeline
    from upbeat.collaboration.race import Race, race
    from upbeat.collaboration.sequential import Sequence, sequence
    from upbeat.collaboration.steps import Step, step
    from upbeat.collaboration.terms import Budget, StopWhen
    from upbeat.context import Context
    from upbeat.errors import (
        Abstain,
        AgentFenced,
        AttemptCancelled,
        BudgetExceeded,
        ClientClosed,
        CodecError,
        CollaborationFailed,
        DuplicateTask,
        Fail,
        Infeasible,
        InvalidField,
        NoConsensus,
        NoWinner,
        PermissionDenied,
        QueueFull,
        Refused,
        StepFailed,
        TaskCancelled,
        TaskFailed,
        TaskFinished,
        TaskNotFound,
        TaskTimedOut,
        TopicFull,
        Unauthenticated,
        Unavailable,
        UpbeatError,
    )
    from upbeat.flow import Done
    from upbeat.group import Group, Published
    from upbeat.handle import TaskHandle
    from upbeat.message import Message
    from upbeat.outcome import ChildOutcome, CollaborationResult, ItemError, TallyEntry
    from upbeat.skill import Kind, Skill
    from upbeat.spec import Limit, Retry
    from upbeat.subscription import Subscription
    from upbeat.sync import SyncClient, SyncTaskHandle
    from upbeat.task import Progress, Task, TaskState
    from upbeat.updates import Left, TaskWatch
    from upbeat.version import __version__

_HOMES = {
    "agent": ("Agent",),
    "channel": ("Tls",),
    "client": ("Client",),
    "collaboration.calls": ("Grade",),
    "collaboration.consensus": ("Consensus", "Verdict", "consensus"),
    "collaboration.custom": ("Custom", "custom"),
    "collaboration.items": ("PipelineItem",),
    "collaboration.kind": ("Collaboration",),
    "collaboration.parallel": ("Parallel", "parallel"),
    "collaboration.pipeline": ("Pipeline", "pipeline"),
    "collaboration.race": ("Race", "race"),
    "collaboration.sequential": ("Sequence", "sequence"),
    "collaboration.steps": ("Step", "step"),
    "collaboration.terms": ("Budget", "StopWhen"),
    "context": ("Context",),
    "errors": (
        "Abstain",
        "AgentFenced",
        "AttemptCancelled",
        "BudgetExceeded",
        "ClientClosed",
        "CodecError",
        "CollaborationFailed",
        "DuplicateTask",
        "Fail",
        "Infeasible",
        "InvalidField",
        "NoConsensus",
        "NoWinner",
        "PermissionDenied",
        "QueueFull",
        "Refused",
        "StepFailed",
        "TaskCancelled",
        "TaskFailed",
        "TaskFinished",
        "TaskNotFound",
        "TaskTimedOut",
        "TopicFull",
        "Unauthenticated",
        "Unavailable",
        "UpbeatError",
    ),
    "flow": ("Done",),
    "group": ("Group", "Published"),
    "handle": ("TaskHandle",),
    "message": ("Message",),
    "outcome": ("ChildOutcome", "CollaborationResult", "ItemError", "TallyEntry"),
    "skill": ("Kind", "Skill"),
    "spec": ("Limit", "Retry"),
    "subscription": ("Subscription",),
    "sync": ("SyncClient", "SyncTaskHandle"),
    "task": ("Progress", "Task", "TaskState"),
    "updates": ("Left", "TaskWatch"),
    "version": ("__version__",),
}
_HOME_BY_NAME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Abstain",
    "Agent",
    "AgentFenced",
    "AttemptCancelled",
    "Budget",
    "BudgetExceeded",
    "ChildOutcome",
    "Client",
    "ClientClosed",
    "CodecError",
    "Collaboration",
    "CollaborationFailed",
    "CollaborationResult",
    "Consensus",
    "Context",
    "Custom",
    "Done",
    "DuplicateTask",
    "Fail",
    "Grade",
    "Group",
    "Infeasible",
    "InvalidField",
    "ItemError",
    "Kind",
    "Left",
    "Limit",
    "Message",
    "NoConsensus",
    "NoWinner",
    "Parallel",
    "PermissionDenied",
    "Pipeline",
    "PipelineItem",
    "Progress",
    "Published",
    "QueueFull",
    "Race",
    "Refused",
    "Retry",
    "Sequence",
    "Skill",
    "Step",
    "StepFailed",
    "StopWhen",
    "Subscription",
    "SyncClient",
    "SyncTaskHandle",
    "TallyEntry",
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
    "TopicFull",
    "Unauthenticated",
    "Unavailable",
    "UpbeatError",
    "Verdict",
    "__version__",
    "consensus",
    "custom",
    "parallel",
    "pipeline",
    "race",
    "sequence",
    "step",
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
