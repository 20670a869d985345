"""What was learned of agents, as it is kept over restarts.

The notes of what has changed are written every ``WRITE_MS``, some in a turn: what a kill takes is
seconds of learning. Only so many are kept, and those that were written longest ago give way, so that a
fleet whose agents have new ids with every process leaves nothing behind that grows.

An agent under a new id that has the name of an earlier one starts with what is believed of that one,
as if it came from few runs: what it does itself soon counts for more.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.commands import PersistNote
from upbeat_server.engine.effects import Effect, Level, SizeOffset
from upbeat_server.engine.predictor import Cell
from upbeat_server.engine.timers import WAKE_NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.predictor import Predictor

CELL, TYPE, AGENT = "learned", "learned.type", "learned.agent"
KINDS = frozenset((CELL, TYPE, AGENT))
SEPARATOR = " "  # In no task type and in no agent id.

WRITE_MS = 5_000
WRITE_NEXT_MS = 100
"""Until the next part is written of what was too much for one turn."""
WRITE_CELLS_MAX = 64
"""Cells written in one turn, each with its type and its agent."""
KEPT_MAX = 20_000
"""Notes of each kind."""
KEPT_MS = 30 * 86_400_000
INHERITED_RUNS = 5
"""Runs that what is known of an agent's name counts as at most."""


class EffectNote(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """See ``Effect``."""

    runs: int = 0
    slow: float = 0.0
    fast: float = 0.0


class CellNote(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """See ``Cell``."""

    at_ms: int
    count: int = 0
    successes: int = 0
    runs: int = 0
    log_ms: float = 0.0
    log_variance: float = 0.0
    failing: float = 0.0
    effect: EffectNote = EffectNote()


class TypeNote(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A type over all agents: its cell, its level, and the share that a run takes of an agent."""

    at_ms: int
    overall: CellNote
    share: CellNote
    runs: int = 0
    log_ms: float = 0.0
    failing: float = 0.0
    fastest: float = 0.0
    sizes: dict[int, tuple[int, float]] = {}


class AgentNote(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An agent over all types, and the name it had."""

    at_ms: int
    name: str
    effect: EffectNote = EffectNote()
    streak: float = 0.0  # Failures in a row, see ``streaks.py``.


class Learned:
    """Which records are to be written, and which notes there are."""

    __slots__ = ("changed", "due_ms", "ids_by_name", "kept")

    def __init__(self) -> None:
        self.changed: dict[tuple[str, str], None] = {}  # Type and agent of what is not written yet.
        self.due_ms = WAKE_NEVER
        # Keys of the notes of each kind, written longest ago first.
        self.kept: dict[str, dict[str, None]] = {kind: {} for kind in sorted(KINDS)}
        self.ids_by_name: dict[str, str] = {}  # The agent of that name that was written last.


def end_turn(engine: Engine, now_ms: int) -> None:
    """Something has changed: write it when it is time."""
    learned = engine.learned
    if learned.due_ms == WAKE_NEVER:
        learned.due_ms = now_ms + WRITE_MS
    if now_ms < learned.due_ms:
        return
    some = list(islice(learned.changed, WRITE_CELLS_MAX))
    for task_type, agent_id in some:
        del learned.changed[task_type, agent_id]
        cell = engine.predictor.cells.get((task_type, agent_id))
        if cell is not None:
            _write(engine, CELL, f"{task_type}{SEPARATOR}{agent_id}", _cell_note(cell, now_ms))
    for task_type in dict.fromkeys(task_type for task_type, _ in some):
        _write_type(engine, task_type, now_ms)
    for agent_id in dict.fromkeys(agent_id for _, agent_id in some):
        _write_agent(engine, agent_id, now_ms)
    learned.due_ms = now_ms + WRITE_NEXT_MS if learned.changed else WAKE_NEVER


def _write(engine: Engine, kind: str, key: str, note: msgspec.Struct) -> None:
    kept = engine.learned.kept[kind]
    kept.pop(key, None)
    kept[key] = None
    engine.commands.append(PersistNote(kind, key, msgspec.msgpack.encode(note)))
    if len(kept) > KEPT_MAX:
        oldest = next(iter(kept))
        del kept[oldest]
        engine.commands.append(PersistNote(kind, oldest, None))


def _write_type(engine: Engine, task_type: str, now_ms: int) -> None:
    predictor = engine.predictor
    overall, level = predictor.types.get(task_type), predictor.levels.get(task_type)
    if overall is None or level is None:
        return
    share = predictor.shares.get(task_type)
    note = TypeNote(
        now_ms,
        _cell_note(overall, now_ms),
        CellNote(now_ms) if share is None else _cell_note(share, now_ms),
        level.runs,
        level.log_ms,
        level.failing,
        level.fastest,
        {bucket: (size.runs, size.offset) for bucket, size in level.sizes.items()},
    )
    _write(engine, TYPE, task_type, note)


def _write_agent(engine: Engine, agent_id: str, now_ms: int) -> None:
    effect, agent = engine.predictor.agents.get(agent_id), engine.fleet.agents.get(agent_id)
    if effect is None or agent is None:
        return  # Nobody knows its name any more.
    _remember_name(engine.learned, agent.name, agent_id)
    streak = engine.predictor.streaks.by_agent.get(agent_id)
    surprise = 0.0 if streak is None else streak.surprise
    _write(engine, AGENT, agent_id, AgentNote(now_ms, agent.name, _effect_note(effect), surprise))


def _remember_name(learned: Learned, name: str, agent_id: str) -> None:
    learned.ids_by_name.pop(name, None)
    learned.ids_by_name[name] = agent_id
    if len(learned.ids_by_name) > KEPT_MAX:
        del learned.ids_by_name[next(iter(learned.ids_by_name))]


def _cell_note(cell: Cell, now_ms: int) -> CellNote:
    return CellNote(
        now_ms,
        cell.count,
        cell.successes,
        cell.runs,
        cell.log_ms,
        cell.log_variance,
        cell.failing,
        _effect_note(cell.effect),
    )


def _effect_note(effect: Effect) -> EffectNote:
    return EffectNote(effect.runs, effect.slow, effect.fast)


def restore(engine: Engine, notes: Iterable[tuple[str, str, bytes]]) -> None:
    """Take over what was durable; notes of other rooms are passed over. Before any step.

    A damaged note is dropped: what was learned is learned again, and no reason not to open a namespace.
    """
    predictor, learned = engine.predictor, engine.learned
    found: list[tuple[int, str, str, CellNote | TypeNote | AgentNote]] = []
    for kind, key, value in notes:
        if kind not in KINDS:
            continue
        try:
            note = decode(kind, value)
        except msgspec.MsgspecError:
            engine.commands.append(PersistNote(kind, key, None))
        else:
            found.append((note.at_ms, kind, key, note))
    found.sort(key=lambda entry: (entry[1] != TYPE, *entry[:3]))  # A cell needs its type.
    for at_ms, kind, key, note in found:
        if at_ms < engine.clock_ms - KEPT_MS:
            engine.commands.append(PersistNote(kind, key, None))
            continue
        learned.kept[kind][key] = None
        match note:
            case TypeNote():
                _restore_type(predictor, key, note)
            case AgentNote():
                predictor.agents[key] = _effect(note.effect)
                if note.streak:
                    predictor.streaks.failed(key, note.streak, note.at_ms)
                _remember_name(learned, note.name, key)
            case CellNote():
                task_type, _, agent_id = key.partition(SEPARATOR)
                if task_type in predictor.types:
                    predictor.cells[task_type, agent_id] = _cell(note)


def decode(kind: str, value: bytes) -> CellNote | TypeNote | AgentNote:
    """The note of one of ``KINDS``; raises MsgspecError if it is damaged."""
    if kind == TYPE:
        return msgspec.msgpack.decode(value, type=TypeNote)
    if kind == AGENT:
        return msgspec.msgpack.decode(value, type=AgentNote)
    return msgspec.msgpack.decode(value, type=CellNote)


def _restore_type(predictor: Predictor, task_type: str, note: TypeNote) -> None:
    predictor.types[task_type] = _cell(note.overall)
    if note.share.runs:
        predictor.shares[task_type] = _cell(note.share)
    level = predictor.levels[task_type] = Level()
    level.runs, level.log_ms = note.runs, note.log_ms
    level.failing, level.fastest = note.failing, note.fastest
    level.sizes = {bucket: SizeOffset(*size) for bucket, size in note.sizes.items()}


def _cell(note: CellNote) -> Cell:
    cell = Cell()
    cell.count, cell.successes, cell.runs = note.count, note.successes, note.runs
    cell.log_ms, cell.log_variance, cell.failing = note.log_ms, note.log_variance, note.failing
    cell.effect = _effect(note.effect)
    return cell


def _effect(note: EffectNote) -> Effect:
    return Effect(note.runs, note.slow, note.fast)


def inherit(engine: Engine, agent: Agent, capabilities: Iterable[str]) -> None:
    """A new agent of a known name starts with what is believed of the one before it."""
    predictor = engine.predictor
    before = engine.learned.ids_by_name.get(agent.name)
    if before is None or before == agent.agent_id or agent.agent_id in predictor.agents:
        return
    known = predictor.agents.get(before)
    if known is not None:
        predictor.agents[agent.agent_id] = _inherited(known)
    for task_type in sorted(capabilities):
        cell = predictor.cells.get((task_type, before))
        if cell is not None:
            heir = predictor.cell(task_type, agent.agent_id)
            heir.effect = _inherited(cell.effect)
            heir.failing = cell.failing


def _inherited(effect: Effect) -> Effect:
    return Effect(min(effect.runs, INHERITED_RUNS), effect.slow, effect.fast)
