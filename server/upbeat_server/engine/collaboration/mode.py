"""The interface between a collaboration and its mode.

A mode is one pure reducer: it is told what happened to the children, in the order
in which that was committed, and answers with moves. It reads no clock and draws no
chance; it keeps what it needs in its own attributes. The group (``group.py``) makes
its moves real: it makes children of spawns as ``max_concurrency`` allows, cancels
what is still live when the mode has decided, keeps budgets, and persists.

The rules that a reducer must keep:

- Nothing but its setting, its memo and what it was told decides. After a restart a
  new reducer is told the same again: ``begin`` with the memo that was frozen, then
  ``appended`` and ``closed``, then ``ended`` for every child that has ended, in the
  order of their ends. Spawns of children that are there already have no effect.
- A key names a child within its group for ever: it is part of the idempotency key
  that agents see. Two spawns never share one.
- After ``Finish`` or ``Fail`` nothing is told any more.

A mode in somebody else's package is an object with the methods of ``Mode``,
published under the entry-point group ``upbeat.modes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from upbeat_server.engine.model import (
    NO_PAYLOAD,
    Collaboration,
    CollaborationResult,
    ContextEntry,
    CustomMode,
    Error,
    Payload,
    TaskSpec,
)

Check: TypeAlias = Callable[[Payload], bool]
"""A compiled condition on an output. Total: one that fails answers False."""


class Setting(msgspec.Struct, frozen=True):
    """What a mode is given when it begins, the same after every restart."""

    collaboration: Collaboration
    input: Payload
    memo: bytes = b""  # What it froze; empty the first time.
    checks: Mapping[str, Check] = {}  # Compiled conditions by their text.
    output_bytes_max: int = 4 << 20  # A larger output is refused: do not gather more than that.


class Child(msgspec.Struct, frozen=True):
    """A child that has ended."""

    key: str
    task_id: int
    state: int  # COMPLETED, FAILED or CANCELLED.
    agent_id: str = ""  # Of the last attempt; empty for a nested collaboration.
    output: Payload | None = None  # Set when COMPLETED.
    error: Error | None = None  # Set otherwise.
    ran_ms: int = 0  # Over all its attempts.


class Facts(Protocol):
    """What a mode may ask when it begins or is woken; it freezes what it uses in its memo."""

    def weights(self, task_type: str, choices: int) -> tuple[dict[str, float], float]:
        """Learned weights by agent id, and that of any other agent."""

    def label_weights(self, spec: TaskSpec, label: str) -> tuple[dict[str, float], float]:
        """Weights from a label by agent id, of the agents that can do ``spec``, and that of any other."""

    def duration_ms(self, task_type: str, quantile: float) -> float | None:
        """Quantile of the durations of a type; None while fewer than 20 runs are known."""

    def may_hedge(self) -> bool:
        """Whether the namespace's share of hedged dispatches has room for one more."""


class Spawn(msgspec.Struct, frozen=True):
    """Make a child. Those beyond ``max_concurrency`` wait in the order of their spawns."""

    key: str
    spec: TaskSpec  # Its input and context filled in, see ``given``.
    panel: str = ""  # Children of one panel are never given to the same agent.
    held: bool = False  # Durable at once, not queued before a Release, and never counted as concurrent.
    hedge: bool = False  # Counts against the share of hedges.


class Release(msgspec.Struct, frozen=True):
    """Queue a child that was held. Those beyond ``max_concurrency`` wait with the spawns, in their order."""

    key: str


class Cancel(msgspec.Struct, frozen=True):
    """End a child that is not wanted any more; ``ended`` tells of it.

    One that has ended stays as it is. One that still waits to be made never is, and nothing is told.
    """

    key: str


class Freeze(msgspec.Struct, frozen=True):
    """Make the memo durable with this turn; it replaces the one before."""

    memo: bytes


class Wake(msgspec.Struct, frozen=True):
    """Call ``woken`` after this time, once; it replaces the one before. After a restart it begins anew."""

    after_ms: int


class Grade(msgspec.Struct, frozen=True):
    """Learn whether an agent was right with its output for a task type."""

    task_type: str
    agent_id: str
    correct: bool


class Advance(msgspec.Struct, frozen=True):
    """Tell watchers how far it got: not durable."""

    fraction: float
    message: str = ""
    chunk: bytes = b""


class Finish(msgspec.Struct, frozen=True):
    """The collaboration is COMPLETED; children that are live are superseded."""

    output: Payload
    result: CollaborationResult = CollaborationResult()


class Fail(msgspec.Struct, frozen=True):
    """The collaboration is FAILED; children that are live are superseded."""

    error: Error
    result: CollaborationResult = CollaborationResult()


Move: TypeAlias = Spawn | Release | Cancel | Freeze | Wake | Grade | Advance | Finish | Fail


MOVES = (Spawn, Release, Cancel, Freeze, Wake, Grade, Advance, Finish, Fail)

_encode = msgspec.msgpack.Encoder().encode


def sound(move: object) -> Move:
    """The move with everything in it of the type that it is to have.

    A mode in somebody else's package may answer anything. Raises TypeError or msgspec's
    ValidationError: nothing of it may get further than that.
    """
    if not isinstance(move, MOVES):
        raise TypeError(f"{move!r} is no move")
    return msgspec.msgpack.decode(_encode(move), type=type(move))


class Reducer(Protocol):
    """One collaboration under its mode."""

    def begin(self, facts: Facts) -> list[Move]:
        """The first moves."""

    def ended(self, child: Child) -> list[Move]:
        """A child ended."""

    def woken(self, facts: Facts) -> list[Move]:
        """The time asked for with Wake has passed."""


class ItemReducer(Reducer, Protocol):
    """One that takes items while it runs. Its held children are the items, keyed by ``item_key``."""

    @property
    def item_count(self) -> int:
        """Items so far, those of the spec included."""

    @property
    def is_open(self) -> bool:
        """Whether more may come."""

    def appended(self, items: list[Payload]) -> list[Move]:
        """Items came, behind those that are there. After a restart they are empty: their children exist."""

    def closed(self) -> list[Move]:
        """No more will come."""


class Mode(Protocol):
    """What is installed under a name."""

    def faults(self, custom: CustomMode) -> Iterable[tuple[str, str]]:
        """What is wrong with the parameters or steps: (field below ``custom``, words)."""

    def children_max(self, custom: CustomMode) -> int:
        """The most children that are ever live at once; for the bound on descendants."""

    def reducer(self, setting: Setting) -> Reducer:
        """A new reducer; of the same setting always the same."""


def given(step: TaskSpec, payload: Payload, *context: ContextEntry) -> TaskSpec:
    """The step with its input, or this one if it has none, and its context."""
    payload = payload if step.input == NO_PAYLOAD else step.input
    return msgspec.structs.replace(step, input=payload, context=context)
