"""A dialogue with the reducer of a mode: ends of children in with ``>>``, moves out with ``<<``.

    stage = Stage(Sequential(steps=(step("draft"), step("review"))))
    stage << 'spawn step/0: "question"'
    stage >> done("step/0", '"a draft"')
    stage << 'spawn step/1: "a draft" original="question"'

The stage is what a group is to a mode, without its bounds: it knows which children
there are and refuses moves that make no sense. Rules:

- the next words are those of the next move; ``said`` reads all that is left;
- a key is spawned once, and nothing is said after the decision;
- ``restarted`` tells a new reducer the same again, as a group does after a restart,
  and what it comes to must be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from upbeat_server.engine.collaboration.mode import (
    Advance,
    Cancel,
    Check,
    Child,
    Fail,
    Finish,
    Freeze,
    Grade,
    ItemReducer,
    Move,
    Reducer,
    Release,
    Setting,
    Spawn,
    Wake,
)
from upbeat_server.engine.collaboration.modes import reducer_of
from upbeat_server.engine.model import (
    NO_PAYLOAD,
    Collaboration,
    CollaborationResult,
    Competitive,
    Consensus,
    Error,
    Parallel,
    Payload,
    Pipeline,
    Sequential,
    TaskSpec,
    TaskState,
)

AnyMode: TypeAlias = Sequential | Parallel | Pipeline | Consensus | Competitive
Line: TypeAlias = "Callable[[Stage], list[Move]]"
"""Something that is told to the reducer."""

QUESTION = '"question"'
JSON = "application/json"


class KnownFacts:
    """What a test says is known."""

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        other: float = 1.0,
        duration_ms: float | None = None,
    ) -> None:
        self.by_agent = dict(weights or {})
        self.other = other
        self.known_ms = duration_ms
        self.has_room = True
        self.asked: list[str] = []

    def weights(self, task_type: str, choices: int) -> tuple[dict[str, float], float]:
        """See Facts."""
        self.asked.append(f"weights of {task_type} with {choices}")
        return dict(self.by_agent), self.other

    def label_weights(self, spec: TaskSpec, label: str) -> tuple[dict[str, float], float]:
        """See Facts."""
        self.asked.append(f"label {label} of {spec.type}")
        return dict(self.by_agent), self.other

    def duration_ms(self, task_type: str, quantile: float) -> float | None:
        """See Facts."""
        self.asked.append(f"quantile {quantile:g} of {task_type}")
        return self.known_ms

    def may_hedge(self) -> bool:
        """See Facts."""
        return self.has_room


class Stage:
    """A reducer that has begun."""

    def __init__(
        self,
        mode: AnyMode,
        text: str = QUESTION,
        *,
        distinct: bool = False,
        facts: KnownFacts | None = None,
        checks: Mapping[str, Check] | None = None,
        memo: bytes = b"",
        output_bytes_max: int = 4 << 20,
    ) -> None:
        self.facts = facts or KnownFacts()
        self.setting = Setting(
            Collaboration(mode=mode, distinct_agents=distinct),
            json(text),
            memo,
            dict(checks or {}),
            output_bytes_max,
        )
        self.memo = memo
        self.reducer: Reducer = reducer_of(self.setting, {})
        self.spawned: dict[str, Spawn] = {}
        self.task_ids: dict[str, int] = {}  # By key, from 1 in the order of spawns.
        self.ended: dict[str, Child] = {}  # In the order of their ends.
        self.appended = 0
        self.is_closed = False
        self.decision: Finish | Fail | None = None
        self.wake_ms: int | None = None
        self.moves: list[Move] = []
        self.unread: list[Move] = []
        self._hear(self.reducer.begin(self.facts))

    # What goes in.

    def __rshift__(self, line: Line) -> Stage:
        self._hear(line(self))
        return self

    def _hear(self, moves: list[Move]) -> None:
        for move in moves:
            assert self.decision is None, f"{words_of(move)!r} was said after the decision"
            match move:
                case Spawn(key=key):
                    assert key not in self.spawned, f"{key} was spawned twice"
                    self.spawned[key] = move
                    self.task_ids.setdefault(key, len(self.task_ids) + 1)
                case Release(key=key):
                    assert self.spawned[key].held, f"{key} was not held"
                case Cancel(key=key):
                    assert key in self.spawned, f"{key} was not spawned"
                case Freeze(memo=memo):
                    self.memo = memo
                case Wake(after_ms=after_ms):
                    assert after_ms > 0
                    self.wake_ms = after_ms
                case Finish() | Fail():
                    self.decision = move
                case Advance(fraction=fraction):
                    assert 0 <= fraction <= 1
        self.moves += moves
        self.unread += moves

    def told(self, child: Child) -> list[Move]:
        """Tell of an end, which is recorded unless that child has ended before."""
        self.ended.setdefault(child.key, child)
        return self.reducer.ended(child)

    def task_id(self, key: str) -> int:
        """The id of a child; that of a child that is not there is 0."""
        return self.task_ids.get(key, 0)

    @property
    def items(self) -> ItemReducer:
        """The reducer of a pipeline."""
        return self.reducer  # type: ignore[return-value]

    @property
    def live(self) -> list[str]:
        """Keys of children that have not ended, held ones included."""
        return [key for key in self.spawned if key not in self.ended]

    # What comes out.

    def __lshift__(self, words: str) -> Stage:
        assert self.unread, f"nothing was said where {words!r} was expected"
        assert words_of(self.unread.pop(0)) == words
        return self

    @property
    def said(self) -> list[str]:
        """The rest of the moves, which counts as reading them."""
        words = [words_of(move) for move in self.unread]
        self.unread.clear()
        return words

    @property
    def is_decided(self) -> bool:
        """Whether it has finished or failed."""
        return self.decision is not None

    @property
    def result(self) -> CollaborationResult:
        """What it came to, finished or failed."""
        assert self.decision is not None
        return self.decision.result

    @property
    def error(self) -> Error:
        """What it failed with."""
        assert isinstance(self.decision, Fail)
        return self.decision.error

    @property
    def finish(self) -> Finish:
        """What it finished with."""
        assert isinstance(self.decision, Finish)
        return self.decision

    # Again.

    def restarted(self) -> Stage:
        """A new stage with the same history, told as a group tells it after a restart.

        Facts have moved on in between: what was frozen holds.
        """
        again = Stage.__new__(Stage)
        again.facts = KnownFacts({"somebody": 7.0}, other=3.0, duration_ms=1.0)
        again.setting = msgspec.structs.replace(self.setting, memo=self.memo)
        again.memo, again.reducer = self.memo, reducer_of(again.setting, {})
        again.spawned, again.ended, again.task_ids = {}, {}, dict(self.task_ids)
        again.appended, again.is_closed = self.appended, self.is_closed
        again.decision, again.wake_ms = None, None
        again.moves, again.unread = [], []
        again._hear(again.reducer.begin(again.facts))
        if self.appended:
            again._hear(again.items.appended([NO_PAYLOAD] * self.appended))
        if self.is_closed:
            again._hear(again.items.closed())
        for child in self.ended.values():
            if again.decision is None:
                again._hear(again.told(child))
        assert again.decision == self.decision
        return again

    def assert_restarts(self) -> None:
        """After a restart there are the same children and the same decision."""
        again = self.restarted()
        assert set(again.spawned) == set(self.spawned)
        assert again.memo == self.memo


def step(task_type: str = "work", text: str = "", name: str = "") -> TaskSpec:
    """A step; without a text it has no input of its own."""
    return TaskSpec(type=task_type, input=json(text) if text else NO_PAYLOAD, name=name)


def json(text: str) -> Payload:
    """A JSON payload."""
    return Payload(JSON, text.encode())


def done(key: str, text: str = '"ok"', *, agent: str = "", content_type: str = JSON, ran_ms: int = 0) -> Line:
    """A child completed."""

    def line(stage: Stage) -> list[Move]:
        output = Payload(content_type, text.encode())
        task_id = stage.task_id(key)
        return stage.told(Child(key, task_id, TaskState.COMPLETED, agent, output, ran_ms=ran_ms))

    return line


def failed(key: str, reason: str = "BROKEN", message: str = "", *, ran_ms: int = 0, agent: str = "") -> Line:
    """A child failed."""

    def line(stage: Stage) -> list[Move]:
        error = Error(reason, message)
        task_id = stage.task_id(key)
        return stage.told(Child(key, task_id, TaskState.FAILED, agent, error=error, ran_ms=ran_ms))

    return line


def cancelled(key: str, reason: str = "CANCELLED") -> Line:
    """Somebody cancelled a child."""

    def line(stage: Stage) -> list[Move]:
        return stage.told(Child(key, stage.task_id(key), TaskState.CANCELLED, error=Error(reason)))

    return line


def appended(*texts: str) -> Line:
    """Items came."""

    def line(stage: Stage) -> list[Move]:
        stage.appended += len(texts)
        return stage.items.appended([json(text) for text in texts])

    return line


def closed() -> Line:
    """No more items will come."""

    def line(stage: Stage) -> list[Move]:
        stage.is_closed = True
        return stage.items.closed()

    return line


def woken() -> Line:
    """The time of the last Wake has passed."""

    def line(stage: Stage) -> list[Move]:
        assert stage.wake_ms is not None, "it did not ask to be woken"
        stage.wake_ms = None
        return stage.reducer.woken(stage.facts)

    return line


def words_of(move: Move) -> str:
    """A move in short words."""
    match move:
        case Spawn():
            return _spawn_words(move)
        case Release():
            return f"release {move.key}"
        case Cancel():
            return f"cancel {move.key}"
        case Freeze():
            return "freeze"
        case Wake():
            return f"wake in {move.after_ms}"
        case Advance():
            return " ".join(filter(None, (f"advance {move.fraction:g}", move.message, move.chunk.decode())))
        case Finish():
            return f"finish {move.output.data.decode()}"
        case Fail():
            return f"fail {move.error.reason}"
        case Grade():
            return f"grade {move.agent_id} for {move.task_type}: {'right' if move.correct else 'wrong'}"


def _spawn_words(move: Spawn) -> str:
    marks = [mark for mark, is_set in (("held", move.held), ("hedge", move.hedge)) if is_set]
    where = [f"in {move.panel}"] if move.panel else []
    context = [f"{entry.name}={entry.payload.data.decode()}" for entry in move.spec.context]
    head = " ".join(["spawn", move.key, *where, *marks])
    return " ".join([f"{head}: {move.spec.input.data.decode()}", *context])
